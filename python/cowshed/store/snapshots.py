"""The part of a store that takes and keeps snapshots."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cowshed.store.progress import Progress
from cowshed.store.records import SnapshotInfo
from cowshed.store.spec import ImageSpec, SnapSpec


class Snapshots(ABC):
    """Snapshots of images.

    A snapshot's id is never used again in the store, and ids ascend in order of creation.
    """

    @abstractmethod
    def snapshots(self, spec: ImageSpec | str, *, all_namespaces: bool = False) -> list[SnapshotInfo]:
        """In the order of their creation; those of the user, or with those that groups and clones keep."""

    @abstractmethod
    def create_snapshot(self, spec: SnapSpec | str) -> SnapshotInfo:
        """O(1), at any size. Raises AlreadyExists, NotFound."""

    @abstractmethod
    def remove_snapshot(self, spec: SnapSpec | str, *, progress: Progress | None = None) -> None:
        """Raises Busy when protected. Clones do not matter; they lose the parent's name, not its data."""

    @abstractmethod
    def rename_snapshot(self, spec: SnapSpec | str, new: SnapSpec | str) -> None: ...

    @abstractmethod
    def purge_snapshots(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> int:
        """Remove all snapshots that are not protected; returns how many.

        Raises Busy if protected ones stay.
        """

    @abstractmethod
    def rollback(self, spec: SnapSpec | str, *, progress: Progress | None = None) -> None:
        """Give the image its snapshot's content and size. O(1). Newer snapshots stay."""

    @abstractmethod
    def protect_snapshot(self, spec: SnapSpec | str) -> None:
        """Raises Busy when it is protected already (as RBD)."""

    @abstractmethod
    def unprotect_snapshot(self, spec: SnapSpec | str) -> None:
        """Raises InvalidArgument when it is not protected (as RBD). Clones do not matter."""

    @abstractmethod
    def snapshot_limit(self, spec: ImageSpec | str) -> int | None:
        """How many snapshots the image may have; None: any number."""

    @abstractmethod
    def set_snapshot_limit(self, spec: ImageSpec | str, limit: int | None) -> None:
        """Those beyond a lower limit stay; new ones are refused as QuotaExceeded."""
