"""Metadata of images, and configuration keys of pools and images."""

from __future__ import annotations

from cowshed.errors import InvalidArgument, NotFound
from cowshed.local import keys
from cowshed.local.boundary import kernel_errors
from cowshed.local.catalog import Catalog, Change, View
from cowshed.local.part import Part
from cowshed.store.config import CONFIG_KEYS, IMAGE_PREFIX, check_config, config_key
from cowshed.store.records import ConfigOption
from cowshed.store.settings import Settings
from cowshed.store.spec import ImageSpec, as_image

MAX_KEY_BYTES = 4000
"""With the image's id it must fit a key of the kernel's."""
MAX_POOL_KEY_BYTES = 3800
"""The same with a pool's name, of up to 255 bytes."""


class LocalSettings(Part, Settings):
    """The settings of a local store."""

    @kernel_errors
    def metadata(self, spec: ImageSpec | str) -> dict[str, str]:
        return metadata_of(self._catalog, self._catalog.image(as_image(spec))[0])

    @kernel_errors
    def get_metadata(self, spec: ImageSpec | str, key: str) -> str:
        image_id, _ = self._catalog.image(as_image(spec))
        value = self._catalog.get(keys.metadata(image_id, _checked(key)))
        if value is None:
            raise _missing(spec, key)
        return value.decode()

    @kernel_errors
    def set_metadata(self, spec: ImageSpec | str, key: str, value: str) -> None:
        spec, stored = as_image(spec), _encoded(value)
        _checked(key)

        def decide(change: Change) -> None:
            image_id, image = change.image(spec)
            change.put(keys.metadata(image_id, key), stored)
            change.put(keys.image(image_id), image.changed().encode())

        self._catalog.change(decide)

    @kernel_errors
    def remove_metadata(self, spec: ImageSpec | str, key: str) -> None:
        spec = as_image(spec)
        _checked(key)

        def decide(change: Change) -> None:
            image_id, image = change.image(spec)
            if change.get(keys.metadata(image_id, key)) is None:
                raise _missing(spec, key)
            change.delete(keys.metadata(image_id, key))
            change.put(keys.image(image_id), image.changed().encode())

        self._catalog.change(decide)

    @kernel_errors
    def pool_metadata(self, pool: str) -> dict[str, str]:
        found = {IMAGE_PREFIX + key: value for key, value in pool_config(self._catalog, pool).items()}
        prefix = keys.metadata_of_pool(pool)
        for stored, value in self._catalog.scan(prefix):
            found[stored[len(prefix) :].decode()] = value.decode()
        return dict(sorted(found.items()))

    @kernel_errors
    def set_pool_metadata(self, pool: str, key: str, value: str) -> None:
        if key.startswith(IMAGE_PREFIX):
            self.set_config(key.removeprefix(IMAGE_PREFIX), value, pool=pool)
            return
        stored, checked = _encoded(value), _checked(key, MAX_POOL_KEY_BYTES)

        def decide(change: Change) -> None:
            change.pool(pool)
            change.put(keys.pool_metadata(pool, checked), stored)

        self._catalog.change(decide)

    @kernel_errors
    def remove_pool_metadata(self, pool: str, key: str) -> None:
        if key.startswith(IMAGE_PREFIX):
            self.remove_config(key.removeprefix(IMAGE_PREFIX), pool=pool)
            return
        _checked(key, MAX_POOL_KEY_BYTES)

        def decide(change: Change) -> None:
            change.pool(pool)
            if change.get(keys.pool_metadata(pool, key)) is None:
                raise NotFound(f"pool {pool!r} has no metadata {key!r}")
            change.delete(keys.pool_metadata(pool, key))

        self._catalog.change(decide)

    @kernel_errors
    def config(self, where: ImageSpec | str | None = None, *, pool: str | None = None) -> list[ConfigOption]:
        spec = None if where is None else as_image(where)
        if (spec is None) == (pool is None):
            raise InvalidArgument(
                "configuration is listed for an image or for a pool", hint="name one of them"
            )
        set_there: dict[str, str] = {}
        if spec is not None:
            set_there = metadata_of(self._catalog, self._catalog.image(spec)[0])
            pool = spec.pool
        assert pool is not None
        of_pool = pool_config(self._catalog, pool)
        found = []
        for name, key in CONFIG_KEYS.items():
            if spec is not None and not key.image:
                continue
            value, source = of_pool.get(name), "pool"
            if (own := set_there.get(IMAGE_PREFIX + name)) is not None:
                value, source = own, "image"
            found.append(ConfigOption(name, *((key.default, "config") if value is None else (value, source))))
        return found

    @kernel_errors
    def set_config(
        self, key: str, value: str, *, image: ImageSpec | str | None = None, pool: str | None = None
    ) -> None:
        stored = check_config(key, value, image=image is not None)
        if image is not None:
            self.set_metadata(image, IMAGE_PREFIX + key, stored)
            return
        name = _pool_of(pool)

        def decide(change: Change) -> None:
            change.pool(name)
            change.put(keys.config(name, key), _encoded(stored))

        self._catalog.change(decide)

    @kernel_errors
    def remove_config(
        self, key: str, *, image: ImageSpec | str | None = None, pool: str | None = None
    ) -> None:
        config_key(key, image=image is not None)
        if image is not None:
            self.remove_metadata(image, IMAGE_PREFIX + key)
            return
        name = _pool_of(pool)

        def decide(change: Change) -> None:
            change.pool(name)
            if change.get(keys.config(name, key)) is None:
                raise NotFound(f"{key} is not set for pool {name!r}")
            change.delete(keys.config(name, key))

        self._catalog.change(decide)


def metadata_of(catalog: Catalog, image_id: str) -> dict[str, str]:
    """All pairs, by key."""
    prefix = keys.metadata_of(image_id)
    return {key[len(prefix) :].decode(): value.decode() for key, value in catalog.scan(prefix)}


def pool_config(catalog: Catalog, pool: str) -> dict[str, str]:
    """What is set for a pool. Raises NotFound."""
    catalog.pool(pool)
    return {keys.last(key): value.decode() for key, value in catalog.scan(keys.configs(pool))}


def pool_setting(view: View, pool: str, key: str) -> str | None:
    """The value of a key that is set for a pool."""
    value = view.get(keys.config(pool, key))
    return None if value is None else value.decode()


def pool_default(view: View, pool: str, key: str) -> str:
    """The value of a key that holds for a pool."""
    value = pool_setting(view, pool, key)
    return CONFIG_KEYS[key].default if value is None else value


def _pool_of(pool: str | None) -> str:
    if pool is None:
        raise InvalidArgument("configuration is set for an image or for a pool", hint="name one of them")
    return pool


def _checked(key: str, longest: int = MAX_KEY_BYTES) -> str:
    if not 0 < len(_encoded(key)) <= longest:
        raise InvalidArgument(f"a metadata key has 1 to {longest} bytes")
    return key


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"{text[:50]!r} is not valid UTF-8") from None


def _missing(spec: ImageSpec | str, key: str) -> NotFound:
    return NotFound(f"image {str(spec)!r} has no metadata {key!r}")
