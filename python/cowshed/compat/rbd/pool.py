"""`RBD`: all that is done to a pool's images by their names."""

from __future__ import annotations

from cowshed.compat.rbd.group import PoolGroups
from cowshed.compat.rbd.pool_images import PoolImages
from cowshed.compat.rbd.pool_migration import PoolMigration
from cowshed.compat.rbd.pool_mirror import PoolMirror
from cowshed.compat.rbd.pool_settings import PoolSettings
from cowshed.compat.rbd.pool_trash import PoolTrash

VERSION = (1, 16, 0)
"""Of the librbd whose answers these are."""


class RBD(PoolImages, PoolTrash, PoolMigration, PoolMirror, PoolSettings, PoolGroups):
    """Has no state of its own; every call names the Ioctx that it is about."""

    def version(self) -> tuple[int, int, int]:
        """Of librbd: major, minor, extra."""
        return VERSION
