"""What the calls on a pool hand out to be looped over: dicts and tuples in the real module's shapes."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from cowshed.compat.rbd.arguments import scope
from cowshed.compat.rbd.constants import (
    RBD_CONFIG_SOURCE_CONFIG,
    RBD_CONFIG_SOURCE_IMAGE,
    RBD_CONFIG_SOURCE_POOL,
)
from cowshed.compat.rbd.translating import answering
from cowshed.errors import NotFound
from cowshed.store import ConfigOption, ImageSpec, TrashInfo

CONFIG_SOURCES = {
    "config": RBD_CONFIG_SOURCE_CONFIG,
    "pool": RBD_CONFIG_SOURCE_POOL,
    "image": RBD_CONFIG_SOURCE_IMAGE,
}
"""The numbers of the places where a configuration key is set."""


class ImageIterator:
    """Dicts of `id` and `name`, one for each image of a pool."""

    def __init__(self, ioctx: object) -> None:
        self._scope = scope(ioctx)
        with answering("error listing images"):
            self._names = [*self._scope.store.images(self._scope.pool, self._scope.namespace)]

    def __iter__(self) -> Iterator[dict[str, str]]:
        where = self._scope
        for name in self._names:
            with answering("error listing images"):
                try:
                    image_id = where.store.stat(ImageSpec(where.pool, where.namespace, name)).id
                except NotFound:
                    continue  # It was removed since.
            yield {"id": image_id, "name": name}


class TrashIterator:
    """Dicts of `id`, `name`, `source`, `deletion_time` and `deferment_end_time` (UTC, without a zone)."""

    def __init__(self, ioctx: object) -> None:
        where = scope(ioctx)
        with answering("error listing trash entries"):
            self._entries = where.store.trash(where.pool, where.namespace)

    def __iter__(self) -> Iterator[dict[str, object]]:
        return (trash_entry(entry) for entry in sorted(self._entries, key=lambda entry: entry.id))


def trash_entry(entry: TrashInfo) -> dict[str, object]:
    """An image of the trash as librbd shows it."""
    return {
        "id": entry.id,
        "name": entry.name,
        "source": entry.source,
        "deletion_time": _moment(entry.deleted),
        "deferment_end_time": _moment(entry.deferred_until),
    }


class ConfigPoolIterator:
    """Dicts of `name`, `value` and `source` (a number): every key, with the value that holds for the pool."""

    def __init__(self, ioctx: object) -> None:
        where = scope(ioctx)
        with answering("error listing config options"):
            self._options = where.store.config(pool=where.pool)
        self._conf = where.conf

    def __iter__(self) -> Iterator[dict[str, object]]:
        for option in self._options:
            given = self._conf.given(option.name) if option.source == "config" else None
            yield config_option(option, given)


def config_option(option: ConfigOption, given: str | None) -> dict[str, object]:
    """A key as librbd shows it; `given` is what the client's own configuration says, if anything."""
    return {
        "name": option.name,
        "value": option.value if given is None else given,
        "source": CONFIG_SOURCES[option.source],
    }


class PoolMetadataIterator:
    """Pairs of key and value."""

    def __init__(self, ioctx: object) -> None:
        where = scope(ioctx)
        with answering("error listing metadata for pool"):
            self._pairs = where.store.pool_metadata(where.pool)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs.items())


class _Nothing:
    """Nothing, as on a pool that is not mirrored; the pool must be there all the same."""

    def __init__(self, ioctx: object) -> None:
        where = scope(ioctx)
        with answering(f"error listing {self._what}"):
            where.store.namespaces(where.pool)

    _what = "mirror peers"

    def __iter__(self) -> Iterator[dict[str, object]]:
        return iter(())


class MirrorPeerIterator(_Nothing):
    """The peers of a pool: none."""


class MirrorImageStatusIterator(_Nothing):
    """How far the images of a pool are mirrored: none is."""

    _what = "mirror image status"


class MirrorImageInstanceIdIterator(_Nothing):
    """Who mirrors the images of a pool: no one."""

    _what = "mirror image instance ids"


class MirrorImageInfoIterator(_Nothing):
    """The mirrored images of a pool: none."""

    _what = "mirror image info"

    def __init__(self, ioctx: object, mode_filter: int | None) -> None:
        super().__init__(ioctx)


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).replace(tzinfo=None)
