"""The part of a store that makes clones and knows whose they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from cowshed.store.progress import Progress
from cowshed.store.records import ChildInfo
from cowshed.store.spec import ImageSpec, SnapSpec


class Clones(ABC):
    """Clones.

    A clone holds what it needs: its parent is a name to show, unless it was made as RBD makes them.
    """

    @abstractmethod
    def clone(
        self,
        parent: SnapSpec | str,
        child: ImageSpec | str,
        *,
        order: int | None = None,
        features: Sequence[str] | None = None,
        striping: tuple[int, int] | None = None,
        clone_format: int | None = None,
        default_format: int | None = None,
    ) -> None:
        """A new image with a snapshot's content. O(1). The snapshot need not be protected, and may go at any
        time.

        With `clone_format` 1 or 2 (or so configured) the clone holds its parent as RBD's clones do until it
        is flattened or removed. 1: the snapshot must be protected, and cannot be unprotected. 2: a snapshot
        that is removed is kept, out of sight, in the namespace `trash`.

        `default_format`, 1 or 2, is for who knows those two only: it holds where the child's pool has no
        configuration of it; `auto` there is then 1, as in a cluster that lets old clients in.
        """

    @abstractmethod
    def children(self, spec: ImageSpec | SnapSpec | str) -> list[ChildInfo]:
        """Clones of a snapshot, or of any snapshot of an image, that were not flattened."""

    @abstractmethod
    def flatten(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        """Drop the name of the parent. O(1): nothing is copied, blocks stay shared.

        Raises InvalidArgument when the image has no parent (as RBD).
        """

    @abstractmethod
    def descendants(self, spec: ImageSpec | SnapSpec | str) -> list[ChildInfo]:
        """Clones, and clones of their snapshots, and so on."""
