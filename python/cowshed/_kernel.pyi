"""The kernel: blocks, versions and the catalogue, and nothing of what they are called.

A *version* is one state of one disk. It is a *head* (writable) or *frozen* (a snapshot). Offsets and
lengths are bytes unless a name says blocks; a block is 4096 bytes. Every call may be made from any
thread; none holds the GIL while it does I/O or waits.
"""

from os import PathLike
from types import TracebackType
from typing import Final, Literal, final

from typing_extensions import Buffer

BLOCK_SIZE: Final[int]
"""Bytes in a block, the unit of sharing: 4096."""
MAX_DISK_SIZE: Final[int]
"""The largest disk, in bytes: 1 PiB."""
FORMAT_VERSION: Final[int]
"""The on-disk format that this kernel writes (docs/format.md)."""

Kind = Literal[
    "missing",  # no such store, version or key
    "exists",  # the store is there already
    "invalid",  # an argument that can never work
    "read-only",  # a write to a frozen version
    "stale",  # the version behind this handle was dropped
    "conflict",  # a `require` of a transaction did not hold
    "locked",  # another process owns the store
    "no-space",  # the file system is full; the store goes on
    "io",  # the operating system reported an error
    "damaged",  # what is on disk contradicts itself
    "format",  # the store was made by another cowshed, newer or from before the first release
    "closed",  # the kernel was closed
    "failed",  # an earlier commit failed, not for want of space: reopen the store
]

class KernelError(Exception):
    """Whatever the kernel refuses; `str()` is a sentence for people."""

    kind: Kind

@final
class VersionInfo:
    id: int
    head: bool
    hidden: bool
    """Dropped, but kept while two or more versions derive from it."""
    parent: int | None
    children: int
    """How many versions derive from this one, hidden ones included."""
    size: int
    mapped_blocks: int
    """Blocks that this version references, shared or not."""

@final
class SpaceInfo:
    used_blocks: int
    """Data blocks that some version references."""
    free_blocks: int
    """Blocks inside the blocks file that the next writes may take."""
    pending_blocks: int
    """Freed blocks that wait for a commit or for I/O in flight."""
    unpunched_chunks: int
    """Chunks of the blocks file that hold freed space not yet returned to the file system."""
    versions: int
    """Version records, hidden and dying ones included."""
    hidden_versions: int
    dying_versions: int
    """Dropped versions whose space is still being freed."""
    pages: int
    """Tree pages in the catalogue."""
    keys: int
    metadata_bytes: int
    """Bytes of live metadata: every key and value stored in the catalogue."""
    catalog_bytes: int
    """Length of the catalogue file."""
    blocks_file_bytes: int
    """What the blocks file occupies on its file system (st_blocks)."""
    cache_bytes: int
    """Bytes in the page cache now."""

@final
class Kernel:
    @staticmethod
    def create(path: str | PathLike[str]) -> None:
        """Make an empty store: a directory with `blocks`, `catalog` and `lock`; `open` adds `reserve`.

        An existing empty directory is taken; anything else there is `exists`.
        """
    @staticmethod
    def open(
        path: str | PathLike[str],
        *,
        cache_bytes: int = 67108864,
        wait_seconds: float = 0.0,
        owner: str = "",
        background: bool = True,
    ) -> Kernel:
        """Own the store at `path` until `close`.

        `owner` is told to whoever finds the store locked; the pid is added to it. `wait_seconds` is how
        long to wait for another owner to go. `background=False` starts no thread: freed space is then
        reclaimed only by `reclaim`.
        """
    def close(self) -> None:
        """Flush, and let the store go. Work left for `reclaim` goes on at the next open.

        The store is let go in any case; `no-space` says that what was not flushed before is lost.
        """
    def __enter__(self) -> Kernel: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def transaction(self) -> Transaction: ...
    def get(self, key: bytes) -> bytes | None: ...
    def scan(
        self, prefix: bytes, *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        """Keys that start with `prefix`, in byte order, beginning behind `after`; at most `limit`."""
    def version(self, version: int) -> VersionInfo: ...
    def children(self, version: int, *, after: int = 0, limit: int = 1000) -> list[int]:
        """Versions that derive from this one, ascending, beginning behind the id `after`."""
    def versions(self, *, after: int = 0, limit: int = 1000) -> list[VersionInfo]:
        """All versions by id, hidden ones included and dying ones not, beginning behind `after`."""
    def disk(self, version: int) -> Disk:
        """Open a version for I/O; a frozen one is read-only. Costs no file handle."""
    def flush(self) -> None:
        """Return when all that was acknowledged before the call is durable.

        After `no-space` all of it waits for the next flush.
        """
    def diff(
        self, old: int | None, new: int, *, offset: int = 0, length: int | None = None, limit: int = 4096
    ) -> tuple[list[tuple[int, int, bool]], int | None]:
        """What differs between two versions, to the block: `(offset, length, mapped)` extents.

        `mapped` says whether `new` has data there (else it reads as zeros). With `old=None`: what `new`
        maps. About `limit` extents are returned with the offset to go on from, None at the end.
        Extents are merged within one call, and end at the larger disk's size.
        """
    def exclusive_blocks(self, version: int) -> int:
        """Blocks that would be freed if this version alone went."""
    def hidden_blocks(self) -> int:
        """Blocks that only hidden versions hold: space that `reclaim` will return."""
    def reclaim(self, budget: int = 4096) -> int:
        """Do a bounded piece of the pending drops, trims and punches now, durably.

        Returns the count of pages and blocks looked at; 0 when nothing is left to do.
        """
    def space(self) -> SpaceInfo: ...
    def check(self) -> list[str]:
        """Verify the last committed state: structure, leaks, double use, every cross-reference.

        Returns all that is wrong, a sentence each; empty when the store is sound. Other threads may go on.
        """

@final
class Transaction:
    """Operations that are applied together and are durable together, or not at all.

    Nothing happens before `commit`; ids are handed out at once so that keys can name them. Leaving the
    `with` block commits, or forgets everything if an exception passes through.
    """

    def create(self, size: int) -> int:
        """A new empty head of `size` bytes."""
    def freeze(self, head: int) -> int:
        """A frozen version with the head's content as it is at commit; it becomes the head's parent."""
    def derive(self, frozen: int) -> int:
        """A new head with the content of a frozen version (one made in this transaction too)."""
    def drop(self, version: int) -> None:
        """Forget a version. Its space comes back by and by (`reclaim`)."""
    def rollback(self, head: int, frozen: int) -> None:
        """Give the head the content and the size of a frozen version."""
    def resize(self, head: int, size: int) -> None:
        """Shrinking discards what is beyond the new end."""
    def put(self, key: bytes, value: bytes) -> None: ...
    def delete(self, key: bytes) -> None: ...
    def require(self, key: bytes, value: bytes | None) -> None:
        """Refuse the whole transaction (`conflict`) unless `key` then holds `value` (None: is absent)."""
    def commit(self) -> None:
        """Apply all of it and return when it is durable.

        `no-space` means that nothing was applied, unless the message ends with "it is done, and becomes
        durable when there is space again".
        """
    def __enter__(self) -> Transaction: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

@final
class Disk:
    """One version, open for I/O. Ranges must lie within the disk (`invalid` if not); any alignment goes."""

    @property
    def version(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def read_only(self) -> bool: ...
    def read(self, offset: int, length: int) -> bytes: ...
    def read_into(self, offset: int, buffer: Buffer) -> None:
        """Fill a writable, contiguous buffer."""
    def write(self, offset: int, data: Buffer) -> None:
        """Whole blocks of zeros are unmapped, not stored."""
    def discard(self, offset: int, length: int) -> None:
        """The range reads as zeros afterwards; whole blocks give their space back."""
    def write_zeroes(self, offset: int, length: int) -> None:
        """The same as `discard`: zeros take no space."""
    def sparsify(self, offset: int, length: int) -> int:
        """Unmap blocks of the range that hold nothing but zeros; returns how many bytes that gave back."""
    def extents(self, offset: int, length: int, *, limit: int = 4096) -> list[tuple[int, int, bool]]:
        """`(offset, length, mapped)` pieces that cover the range without gaps, at most about `limit`."""
