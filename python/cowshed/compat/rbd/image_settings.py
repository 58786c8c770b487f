"""What is said of an open image: metadata and configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from cowshed.compat.rbd import constants
from cowshed.compat.rbd.arguments import text
from cowshed.compat.rbd.opened import Opened, answered
from cowshed.errors import InvalidArgument, NotFound

_SOURCES = {
    "config": constants.RBD_CONFIG_SOURCE_CONFIG,
    "pool": constants.RBD_CONFIG_SOURCE_POOL,
    "image": constants.RBD_CONFIG_SOURCE_IMAGE,
}


class ConfigOption(TypedDict):
    name: str
    value: str
    source: int


class Settings(Opened):
    """A key that is not there is a KeyError."""

    @answered("error getting metadata for")
    def metadata_get(self, key: str) -> str:
        key, spec = text(key, "key"), self._spec()
        try:
            return self._scope.store.get_metadata(spec, key)
        except NotFound:
            raise KeyError(f"no metadata {key!r} for image {self._called!r}") from None

    @answered("error setting metadata for")
    def metadata_set(self, key: str, value: str) -> None:
        key, value = text(key, "key"), text(value, "value")
        self._scope.store.set_metadata(self._changeable(), key, value)

    @answered("error removing metadata for")
    def metadata_remove(self, key: str) -> None:
        key, spec = text(key, "key"), self._open_for_changes()
        try:
            self._scope.store.remove_metadata(spec, key)
        except NotFound:
            raise KeyError(f"no metadata {key!r} for image {self._called!r}") from None

    @answered("error listing metadata for")
    def metadata_list(self) -> MetadataIterator:
        return MetadataIterator(self)

    @answered("error getting config for")
    def config_get(self, key: str) -> str:
        """What was set for this image itself."""
        key = text(key, "key")
        found = self._scope.store.metadata(self._spec()).get(f"conf_{key}")
        if found is None:
            raise KeyError(f"no config {key!r} for image {self._called!r}")
        return found

    @answered("error setting config for")
    def config_set(self, key: str, value: str) -> None:
        """Raises InvalidArgument for an unknown key or value."""
        key, value = text(key, "key"), text(value, "value")
        self._scope.store.set_config(key, value, image=self._changeable())

    @answered("error removing config for")
    def config_remove(self, key: str) -> None:
        key, spec = text(key, "key"), self._open_for_changes()
        try:
            self._scope.store.remove_config(key, image=spec)
        except (NotFound, InvalidArgument):
            raise KeyError(f"no config {key!r} for image {self._called!r}") from None

    @answered("error listing config for")
    def config_list(self) -> ConfigImageIterator:
        return ConfigImageIterator(self)


class MetadataIterator:
    """(key, value), by key."""

    def __init__(self, image: Opened) -> None:
        image.require_not_closed()
        self._pairs = sorted(image._scope.store.metadata(image._spec()).items())

    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield from self._pairs

    def get_next_chunk(self) -> None:
        """All of it is here already."""


class ConfigImageIterator:
    """`name`, `value`, `source` (RBD_CONFIG_SOURCE_…) of every key."""

    def __init__(self, image: Opened) -> None:
        image.require_not_closed()
        self._options: list[ConfigOption] = [
            {"name": option.name, "value": option.value, "source": _SOURCES[option.source]}
            for option in image._scope.store.config(image._spec())
        ]

    def __iter__(self) -> Iterator[ConfigOption]:
        yield from self._options
