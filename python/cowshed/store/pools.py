"""The part of a store that holds pools and their namespaces."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cowshed.store.records import PoolInfo, PoolStats


class Pools(ABC):
    """Pools, and namespaces in them; an image belongs to one of either for its life."""

    @abstractmethod
    def pools(self) -> list[PoolInfo]:
        """All pools, by name."""

    @abstractmethod
    def create_pool(self, name: str) -> PoolInfo:
        """Raises AlreadyExists, InvalidArgument."""

    @abstractmethod
    def remove_pool(self, name: str, *, with_images: bool = False) -> None:
        """Raises NotFound, NotEmpty while it holds images.

        `with_images` removes them first, one after the other, whatever their snapshots, clones and users, and
        the groups; an end on the way leaves the rest. Raises InGroup where a group of another pool has one.
        """

    @abstractmethod
    def pool_stats(self, name: str, namespace: str | None = None) -> PoolStats:
        """Of the whole pool; or of one namespace, "" for the pool's own. Raises NotFound."""

    def mirror_mode(self, name: str) -> str:
        """RBD's mirroring mode of a pool: `disabled`, as no store is mirrored. Raises NotFound."""
        self.namespaces(name)
        return "disabled"

    @abstractmethod
    def namespaces(self, pool: str) -> list[str]:
        """Names of the pool's namespaces, ascending; its own, "", is not among them. Raises NotFound."""

    @abstractmethod
    def create_namespace(self, pool: str, name: str) -> None:
        """Raises NotFound (the pool), AlreadyExists, InvalidArgument."""

    @abstractmethod
    def remove_namespace(self, pool: str, name: str) -> None:
        """Raises NotFound, Busy while it holds images, trash or groups (as RBD)."""
