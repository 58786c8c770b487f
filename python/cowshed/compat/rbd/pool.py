"""`RBD`: all that is done to a pool's images by their names."""

from __future__ import annotations

from collections.abc import Callable

from cowshed import native
from cowshed.compat.rbd.completion import Completion
from cowshed.compat.rbd.group import PoolGroups
from cowshed.compat.rbd.image import Image
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

    def aio_open_image(
        self,
        oncomplete: Callable[[Completion, Image], object] | None,
        ioctx: object,
        name: str | None = None,
        snapshot: str | None = None,
        read_only: bool = False,
        image_id: str | None = None,
    ) -> Completion | None:
        """Open an image in another thread, and tell `oncomplete(completion, image)` when that is done.

        Whether it worked is the completion's return value; an image that was not opened is closed. Without
        `oncomplete` it is opened at once and no one gets it, as with librbd: only errors are to be seen.
        Raises TypeError, InvalidArgument.
        """
        if oncomplete is None:
            Image(ioctx, name, snapshot, read_only, image_id).close()
            return None
        made: list[Image] = []
        there = native.event()

        def tell(completion: Completion) -> None:
            there.wait()
            oncomplete(completion, made[0])

        image = Image(
            ioctx,
            name,
            snapshot,
            read_only,
            image_id,
            tell,
        )
        made.append(image)
        there.set()
        return image._opening
