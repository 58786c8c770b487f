"""The part of a store that treats several images as one: groups."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cowshed.store.progress import Progress
from cowshed.store.records import GroupInfo, GroupSnapshotInfo
from cowshed.store.spec import GroupSpec, ImageSpec


class Groups(ABC):
    """Groups of images, and snapshots of all members at one moment. An image is in one group at most."""

    @abstractmethod
    def groups(self, pool: str, namespace: str = "") -> list[str]:
        """Names of the groups, ascending."""

    @abstractmethod
    def create_group(self, spec: GroupSpec | str) -> None:
        """Raises AlreadyExists, NotFound (pool or namespace)."""

    @abstractmethod
    def group(self, spec: GroupSpec | str) -> GroupInfo:
        """Its id, its members and its snapshots."""

    @abstractmethod
    def rename_group(self, spec: GroupSpec | str, new: GroupSpec | str) -> None:
        """Within one pool and namespace. Raises NotFound, AlreadyExists, InvalidArgument."""

    @abstractmethod
    def remove_group(self, spec: GroupSpec | str) -> None:
        """Its snapshots go, its members stay."""

    @abstractmethod
    def add_to_group(self, spec: GroupSpec | str, image: ImageSpec | str) -> None:
        """Raises NotFound; AlreadyExists if the image is in a group, this one or another."""

    @abstractmethod
    def remove_from_group(self, spec: GroupSpec | str, image: ImageSpec | str) -> None:
        """Raises NotFound, for an image that is not in this group, too."""

    @abstractmethod
    def create_group_snapshot(self, spec: GroupSpec | str, name: str) -> GroupSnapshotInfo:
        """A snapshot of every member, all of the same moment. Raises AlreadyExists."""

    @abstractmethod
    def rename_group_snapshot(self, spec: GroupSpec | str, name: str, new: str) -> None:
        """Raises NotFound, AlreadyExists."""

    @abstractmethod
    def remove_group_snapshot(
        self, spec: GroupSpec | str, name: str, *, progress: Progress | None = None
    ) -> None:
        """With its members' snapshots. Raises NotFound."""

    @abstractmethod
    def rollback_group(self, spec: GroupSpec | str, name: str, *, progress: Progress | None = None) -> None:
        """Give all members the content of that snapshot, in one step. Raises NotFound.

        Raises InvalidArgument if the group has other members now (as RBD).
        """
