"""The part of `RBD` about pools themselves: namespaces, metadata, configuration, counts, features' names."""

from __future__ import annotations

import errno

from cowshed.compat.rbd.arguments import scope, text, unsigned
from cowshed.compat.rbd.errors import InvalidArgument
from cowshed.compat.rbd.iterators import ConfigPoolIterator, PoolMetadataIterator
from cowshed.compat.rbd.translating import answering, make_error
from cowshed.errors import InvalidArgument as Invalid
from cowshed.store import FEATURES
from cowshed.store.features import NAMES, mask, parse_features

Text = str | bytes


class PoolSettings:
    """A pool and what is set for it."""

    def pool_init(self, ioctx: object, force: bool) -> None:
        """Every pool is ready for images; this only looks whether it is there."""
        where = scope(ioctx)
        with answering("error initializing pool"):
            where.store.namespaces(where.pool)

    def pool_stats_get(self, ioctx: object) -> dict[str, int]:
        """Counts, and sizes in bytes, of the Ioctx's namespace; the `max` ones are those of the images as
        they are now.
        """
        where = scope(ioctx)
        with answering("error retrieving pool stats"):
            stats = where.store.pool_stats(where.pool, where.namespace)
        return {
            "image_count": stats.images,
            "image_provisioned_bytes": stats.provisioned,
            "image_max_provisioned_bytes": stats.provisioned,
            "image_snap_count": stats.snapshots,
            "trash_count": stats.trash_images,
            "trash_provisioned_bytes": stats.trash_provisioned,
            "trash_max_provisioned_bytes": stats.trash_provisioned,
            "trash_snap_count": stats.trash_snapshots,
        }

    # --- namespaces

    def namespace_create(self, ioctx: object, name: Text) -> None:
        """Raises ImageExists, InvalidArgument."""
        name = text(name, "name")
        where = scope(ioctx)
        with answering("error creating namespace"):
            where.store.create_namespace(where.pool, name)

    def namespace_remove(self, ioctx: object, name: Text) -> None:
        """Raises ImageNotFound, ImageBusy while it holds anything, InvalidArgument."""
        name = text(name, "name")
        where = scope(ioctx)
        with answering("error removing namespace"):
            where.store.remove_namespace(where.pool, name)

    def namespace_exists(self, ioctx: object, name: Text) -> bool:
        """Raises InvalidArgument for an empty name."""
        name = text(name, "name")
        where = scope(ioctx)
        if not name:
            raise make_error(errno.EINVAL, "error verifying namespace")
        with answering("error verifying namespace"):
            return name in where.store.namespaces(where.pool)

    def namespace_list(self, ioctx: object) -> list[str]:
        """Names of the pool's namespaces."""
        where = scope(ioctx)
        with answering("error listing namespaces"):
            return where.store.namespaces(where.pool)

    # --- metadata

    def pool_metadata_get(self, ioctx: object, key: Text) -> str:
        """Raises KeyError."""
        key = text(key, "key")
        where = scope(ioctx)
        with answering(f"error getting metadata {key} for pool {where.pool}"):
            pairs = where.store.pool_metadata(where.pool)
        if key not in pairs:
            raise KeyError(f"no metadata {key.encode()!r}")
        return pairs[key]

    def pool_metadata_set(self, ioctx: object, key: Text, value: Text) -> None:
        """Any text under any key; a key `conf_rbd_…` is that configuration of the pool."""
        key, value = text(key, "key"), text(value, "value")
        where = scope(ioctx)
        with answering(f"error setting metadata {key} for pool {where.pool}"):
            where.store.set_pool_metadata(where.pool, key, value)

    def pool_metadata_remove(self, ioctx: object, key: Text) -> None:
        """Raises KeyError."""
        key = text(key, "key")
        where = scope(ioctx)
        message = f"error removing metadata {key} for pool {where.pool}"
        with answering(message):
            if key not in where.store.pool_metadata(where.pool):
                raise KeyError(f"no metadata {key.encode()!r}")
            where.store.remove_pool_metadata(where.pool, key)

    def pool_metadata_list(self, ioctx: object) -> PoolMetadataIterator:
        """All pairs."""
        return PoolMetadataIterator(ioctx)

    # --- configuration

    def config_list(self, ioctx: object) -> ConfigPoolIterator:
        """Every key with the value that holds."""
        return ConfigPoolIterator(ioctx)

    def config_get(self, ioctx: object, key: Text) -> str:
        """What is set for the pool itself. Raises KeyError."""
        key = text(key, "key")
        where = scope(ioctx)
        with answering(f"error getting config {key} for pool {where.pool}"):
            for option in where.store.config(pool=where.pool):
                if option.name == key and option.source == "pool":
                    return option.value
        raise KeyError(f"no config {key} for pool {where.pool}")

    def config_set(self, ioctx: object, key: Text, value: Text) -> None:
        """Raises InvalidArgument for a key or value that RBD does not take."""
        key, value = text(key, "key"), text(value, "value")
        where = scope(ioctx)
        with answering(f"error setting config {key} for pool {where.pool}"):
            where.store.set_config(key, value, pool=where.pool)

    def config_remove(self, ioctx: object, key: Text) -> None:
        """Raises KeyError."""
        key = text(key, "key")
        where = scope(ioctx)
        self.config_get(ioctx, key)
        with answering(f"error removing config {key} for pool {where.pool}"):
            where.store.remove_config(key, pool=where.pool)

    # --- names of features

    def features_to_string(self, features: int) -> str:
        """Names in the order of the alphabet, with commas. Raises InvalidArgument for unknown bits."""
        bits = unsigned(features)
        if bits >> len(NAMES):
            raise make_error(errno.EINVAL, "error converting features bitmask to str")
        return ",".join(sorted(name for bit, name in enumerate(NAMES) if bits >> bit & 1))

    def features_from_string(self, str_features: Text) -> int:
        """The bits of names with commas between; of "": the default. Raises InvalidArgument."""
        named = text(str_features, "str_features")
        if not named:
            return mask(FEATURES)
        try:
            return mask(parse_features(named))
        except Invalid:
            raise InvalidArgument("error getting features bitmask from str", errno=errno.EINVAL) from None
