"""`Image`: one open image or snapshot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cowshed.store.records import Extent, Locker
from cowshed.store.spec import ImageSpec, SnapSpec

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on


class Image(ABC):
    """One open image or snapshot: a disk of `size` bytes. Any alignment goes.

    Ranges must lie within the disk, else InvalidArgument. Writing through a read-only one raises ReadOnly.
    """

    @property
    @abstractmethod
    def spec(self) -> ImageSpec | SnapSpec: ...

    @property
    @abstractmethod
    def image_id(self) -> str:
        """The id of the image, or of the one that the snapshot is of; never changes."""

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

    @property
    @abstractmethod
    def is_lock_owner(self) -> bool:
        """Whether this one holds the image's exclusive lock."""

    @abstractmethod
    def lock_acquire(self, *, automatic: bool = False) -> None:
        """Take the exclusive lock: until it is let go, all others that have the image open cannot write it.

        One that was taken with `automatic`, as librbd does before its first write, is no one's to keep: it
        goes over to whoever asks for it next, in either way, and to whoever writes without ever having asked
        to keep it.

        Raises Busy if another keeps it, InvalidArgument for an image without the feature, ReadOnly.
        """

    @abstractmethod
    def lock_release(self) -> None:
        """Raises InvalidArgument if this one does not hold it. Closing releases it, too."""

    @abstractmethod
    def lock_owner(self) -> Locker | None:
        """Who holds it."""

    @abstractmethod
    def lock_break(self, cookie: str) -> None:
        """Take it from the owner with that cookie. Raises NotFound if it is not he who has it."""

    @abstractmethod
    def diff(
        self,
        from_snapshot: str | None = None,
        *,
        offset: int = 0,
        length: int | None = None,
        own: bool = False,
    ) -> Iterator[Extent]:
        """Extents that differ from a snapshot of the same image, ascending and merged; exact to the block.

        `Extent.exists` is False where this one reads as zeros. Without a start: all that has data; or, if it
        is only to be a clone's `own`, all in which it differs from its parent, as long as it has one.
        """
