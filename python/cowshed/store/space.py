"""The part of a store that accounts for space, and checks."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cowshed.store.progress import Progress
from cowshed.store.records import StoreFacts, StoreUsage, Usage
from cowshed.store.spec import ImageSpec, SnapSpec


class Space(ABC):
    """What takes space, and whether all is sound."""

    @abstractmethod
    def usage(self, spec: ImageSpec | SnapSpec | str) -> Usage:
        """What an image's head or a snapshot references, and what only it holds; exact to the block."""

    @abstractmethod
    def facts(self) -> StoreFacts:
        """The store's id, and the space of the file system that holds it."""

    @abstractmethod
    def store_usage(self) -> StoreUsage: ...

    @abstractmethod
    def check(self) -> list[str]:
        """Verify everything; returns all that is wrong, a sentence each."""

    @abstractmethod
    def reclaim(self, *, progress: Progress | None = None) -> None:
        """Return when all freed space is back with the file system."""
