"""What every engine offers: `Store`, and `Image` for one open image.

Everything above the engines (command line, daemon, services) knows these two classes and the plain
records of `records.py`, nothing of an engine. Meaning and errno follow RBD (rbd(8), librbd) where RBD
has the thing; where cowshed is freer, the method says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cowshed.store.progress import Progress
from cowshed.store.records import (
    ChildInfo,
    Extent,
    ImageStat,
    PoolInfo,
    PoolStats,
    SnapshotInfo,
    StoreUsage,
    Usage,
)
from cowshed.store.spec import ImageSpec, SnapSpec

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on


class Store(ABC):
    """An open store. Use it as a context manager, or call `close`.

    Specs are `ImageSpec`/`SnapSpec` or their text, `[pool/[namespace/]]image[@snapshot]`. All changes are
    durable when the call returns. Methods may be called from several threads.
    """

    @property
    @abstractmethod
    def target(self) -> str:
        """What `cowshed.open` was given, made absolute."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- pools
    @abstractmethod
    def pools(self) -> list[PoolInfo]:
        """All pools, by name."""

    @abstractmethod
    def create_pool(self, name: str) -> PoolInfo:
        """Raises AlreadyExists, InvalidArgument."""

    @abstractmethod
    def remove_pool(self, name: str) -> None:
        """Raises NotFound, NotEmpty while it holds images."""

    @abstractmethod
    def pool_stats(self, name: str) -> PoolStats: ...

    # --- images
    @abstractmethod
    def create(self, spec: ImageSpec | str, size: int, *, order: int = 22) -> None:
        """A new, empty image of `size` bytes; `order` is kept and reported, as RBD's object order.

        Raises AlreadyExists, NotFound (the pool), InvalidArgument.
        """

    @abstractmethod
    def images(self, pool: str, namespace: str = "") -> Iterator[str]:
        """Names of the pool's images, ascending."""

    @abstractmethod
    def stat(self, spec: ImageSpec | SnapSpec | str) -> ImageStat: ...

    @abstractmethod
    def open(self, spec: ImageSpec | SnapSpec | str, *, read_only: bool = False) -> Image:
        """Open an image, or (always read-only) one of its snapshots."""

    @abstractmethod
    def rename(self, spec: ImageSpec | str, new: ImageSpec | str) -> None:
        """Within one pool. Raises NotFound, AlreadyExists, InvalidArgument across pools."""

    @abstractmethod
    def resize(self, spec: ImageSpec | str, size: int, *, allow_shrink: bool = False) -> None:
        """Raises InvalidArgument for a smaller size unless `allow_shrink`."""

    @abstractmethod
    def remove(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        """Raises NotEmpty while it has snapshots. Clones of it do not matter: they hold what they need."""

    # --- snapshots
    @abstractmethod
    def snapshots(self, spec: ImageSpec | str) -> list[SnapshotInfo]:
        """In the order of their creation."""

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

    # --- clones
    @abstractmethod
    def clone(self, parent: SnapSpec | str, child: ImageSpec | str, *, order: int | None = None) -> None:
        """A new image with a snapshot's content. O(1). The snapshot need not be protected."""

    @abstractmethod
    def children(self, spec: ImageSpec | SnapSpec | str) -> list[ChildInfo]:
        """Clones of a snapshot, or of any snapshot of an image, that were not flattened."""

    @abstractmethod
    def flatten(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        """Drop the name of the parent. O(1): nothing is copied, blocks stay shared.

        Raises InvalidArgument when the image has no parent (as RBD).
        """

    # --- space and health
    @abstractmethod
    def usage(self, spec: ImageSpec | SnapSpec | str) -> Usage:
        """What an image's head or a snapshot references, and what only it holds; exact to the block."""

    @abstractmethod
    def store_usage(self) -> StoreUsage: ...

    @abstractmethod
    def check(self) -> list[str]:
        """Verify everything; returns all that is wrong, a sentence each."""

    @abstractmethod
    def reclaim(self, *, progress: Progress | None = None) -> None:
        """Return when all freed space is back with the file system."""


class Image(ABC):
    """One open image or snapshot: a disk of `size` bytes. Any alignment goes.

    Ranges must lie within the disk, else InvalidArgument. Writing through a read-only one raises ReadOnly.
    """

    @property
    @abstractmethod
    def spec(self) -> ImageSpec | SnapSpec: ...

    @property
    @abstractmethod
    def size(self) -> int: ...

    @property
    @abstractmethod
    def read_only(self) -> bool: ...

    @abstractmethod
    def close(self) -> None:
        """Flush what was written, and let go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes: ...

    @abstractmethod
    def read_into(self, offset: int, buffer: Buffer) -> None: ...

    @abstractmethod
    def write(self, offset: int, data: Buffer) -> None: ...

    @abstractmethod
    def discard(self, offset: int, length: int) -> None:
        """The range reads as zeros afterwards, and whole blocks give their space back."""

    @abstractmethod
    def write_zeroes(self, offset: int, length: int) -> None: ...

    @abstractmethod
    def flush(self) -> None:
        """Return when every write that returned before is durable."""

    @abstractmethod
    def diff(
        self, from_snapshot: str | None = None, *, offset: int = 0, length: int | None = None
    ) -> Iterator[Extent]:
        """Extents that differ from a snapshot of the same image, ascending and merged; exact to the block.

        `Extent.exists` is False where this one reads as zeros. Without a start: all that has data.
        """
