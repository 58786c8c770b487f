"""The part of a store that keeps removed images for a while."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cowshed.store.progress import Progress
from cowshed.store.records import TrashInfo
from cowshed.store.spec import ImageSpec


class Trash(ABC):
    """The trash of each pool and namespace: images without a name, found by their ids."""

    @abstractmethod
    def trash_move(self, spec: ImageSpec | str, *, delay: float = 0.0) -> str:
        """Take an image's name away, and keep the image; returns its id.

        For `delay` seconds it can only be removed by force. Snapshots and clones do not matter. Raises
        NotFound, InGroup, Busy while it is being moved.
        """

    @abstractmethod
    def trash(self, pool: str, namespace: str = "") -> list[TrashInfo]:
        """What is in the trash, by name."""

    @abstractmethod
    def trash_restore(
        self, pool: str, image_id: str, *, namespace: str = "", name: str | None = None
    ) -> ImageSpec:
        """Give it its name again, or another one. Raises NotFound, AlreadyExists."""

    @abstractmethod
    def trash_remove(
        self,
        pool: str,
        image_id: str,
        *,
        namespace: str = "",
        force: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Remove it for good.

        Raises NotFound; NotPermitted before its time is over, unless `force`; NotEmpty while it has
        snapshots.
        """

    @abstractmethod
    def trash_purge(
        self,
        pool: str,
        namespace: str = "",
        *,
        expired_before: float | None = None,
        threshold: float | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        """Remove what has expired, or had by `expired_before`; returns the ids, in the order of removal.

        With `threshold` (0 to 1) the oldest are removed instead, expired or not, until at most that share of
        the store's file system is in use. Images with snapshots stay (as with RBD): when all others are gone,
        NotEmpty names them.
        """
