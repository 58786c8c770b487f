"""The part of a store that moves images while they are known by both names: RBD's live migration."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cowshed.store.progress import Progress
from cowshed.store.records import MigrationInfo
from cowshed.store.spec import ImageSpec


class Migration(ABC):
    """Moves of an image to another name, pool or namespace of the store, in RBD's steps.

    Nothing is copied: the image itself gets the new name when the move is prepared, and has the old one again
    when it is aborted. The old name is free meanwhile. Unlike RBD, programs that have the image open do not
    matter.
    """

    @abstractmethod
    def prepare_migration(
        self, source: ImageSpec | str, target: ImageSpec | str, *, order: int | None = None
    ) -> None:
        """Move it. Raises NotFound, AlreadyExists, InGroup, Busy if it is being moved already."""

    @abstractmethod
    def execute_migration(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        """What RBD needs to copy, cowshed has nothing to do for. `spec` is the new name. Raises NotFound."""

    @abstractmethod
    def commit_migration(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        """Forget the old name. Raises InvalidArgument unless it was executed."""

    @abstractmethod
    def abort_migration(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        """Give it its old name again. Raises AlreadyExists if another image has that by now."""

    @abstractmethod
    def migration(self, spec: ImageSpec | str) -> MigrationInfo | None:
        """How far the move of an image is; None: it is not being moved."""
