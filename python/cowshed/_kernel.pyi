"""The kernel: blocks, versions and the catalogue, and nothing of what they are called.

A *version* is one state of one disk. It is a *head* (writable) or *frozen* (a snapshot). Offsets and
lengths are bytes unless a name says blocks; a block is 4096 bytes. Every call may be made from any
thread; none holds the GIL while it does I/O or waits.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from types import TracebackType
from typing import Final, Literal, Protocol, final

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
    "refused",  # a server refuses it to this client
    "io",  # the operating system reported an error, or a connection is lost
    "damaged",  # what is on disk contradicts itself
    "format",  # the store was made by another cowshed, newer or from before the first release
    "closed",  # the kernel was closed
    "forked",  # it belongs to the process that this one was forked from
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
    def disk(self, version: int, *, cached: bool = True) -> Disk:
        """Open a version for I/O; a frozen one is read-only. Costs no file handle.

        Without `cached`, what is read and written in pieces of 64 KiB and more is not kept in memory, where
        the system can do so (Linux 6.14).
        """
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

# --- serving disks over NBD

@final
class Fence:
    """Keeps all but one of those that have an image open from writing it; exports of one image share one.

    `asked` is called from the server's threads with the `me` of an export that is about to write and is kept
    out; it answers whether that one may write now.
    """

    def __init__(self, asked: Callable[[int], bool] | None = None) -> None: ...
    owner: int
    """The `me` of the export that alone may write; 0: all may."""

@final
class NbdExport:
    """A version as one connection is to have it."""

    def __init__(
        self,
        version: int,
        *,
        read_only: bool,
        description: str = "",
        label: str = "",
        fence: Fence | None = None,
        me: int = 0,
        cached: bool = True,
    ) -> None:
        """`label` is what it counts as in statistics; `me` is who it is at the fence, and not 0 where that
        matters; `cached` as in `Kernel.disk`.
        """

    @property
    def version(self) -> int: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def description(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def me(self) -> int: ...
    @property
    def written(self) -> bool:
        """Whether any write or discard has come through it."""

class NbdExports(Protocol):
    """Whoever decides what is served.

    Called from the server's threads while a connection is agreed on and when it is over, never for requests.
    """

    def open(self, name: str, peer: str) -> NbdExport:
        """Raises LookupError or PermissionError with words for the client; all else counts as a failure."""

    def close(self, export: NbdExport, fault: str | None) -> None:
        """A connection to it is over; `fault` says how the client broke the protocol, if it did.

        Each export that was opened is closed once, those that were only asked about too.
        """

    def names(self) -> list[tuple[str, str]]:
        """Names and descriptions for clients that ask what there is."""

    def snapshots(self, export: NbdExport) -> list[str]:
        """Names of the snapshots from which it can tell its differences, as `cowshed:diff:NAME`."""

    def snapshot_version(self, export: NbdExport, name: str) -> int:
        """Raises LookupError."""

@final
class ServerTls:
    """How a server proves who it is, and, with `client_ca`, whose clients it lets in. Paths of PEM files."""

    def __init__(
        self,
        certificate: str | PathLike[str],
        key: str | PathLike[str],
        *,
        client_ca: str | PathLike[str] | None = None,
    ) -> None:
        """Raises KernelError `invalid` for files that cannot be read or do not fit."""

    def reload(self) -> None:
        """Read the files again, for connections from now on. Raises as above, and then all is as before."""

@final
class NbdConnection:
    id: int
    peer: str
    """`pid N uid N` on this machine, `HOST:PORT` elsewhere."""
    label: str
    """Empty while it is being agreed on."""
    since: float
    tls: bool

@final
class NbdStatistics:
    """One kind of request on the exports with one label, since the server was made."""

    label: str
    operation: str
    requests: int
    errors: int
    bytes: int
    seconds: float
    """From arrival to answer, summed."""
    buckets: list[tuple[float, int]]
    """Upper bound in seconds, and how many took so long and longer than the bound before."""

@final
class NbdServer:
    """Serves versions over NBD, each connection by a thread of its own and none of them with the GIL.

    It listens nowhere until it is told to. `stop` it before the kernel is closed.
    """

    def __init__(
        self,
        kernel: Kernel,
        exports: NbdExports,
        *,
        max_connections: int = 1024,
        handshake_seconds: float = 10.0,
    ) -> None: ...
    def listen_unix(self, path: str | PathLike[str], *, mode: int = 0o600) -> None:
        """At a path that is not there yet (and is not removed in the end)."""

    def listen_tcp(
        self, host: str, port: int, *, tls: ServerTls | None = None, require_tls: bool = True
    ) -> int:
        """Returns the port; a free one for port 0."""

    def listen_fd(self, fd: int, *, tls: ServerTls | None = None, require_tls: bool = False) -> None:
        """Take over a socket that listens, and its descriptor, whatever comes of it.

        Another process that has the socket too can go on with it after `stop`.
        """

    def connections(self) -> list[NbdConnection]: ...
    def statistics(self) -> list[NbdStatistics]: ...
    def disconnect(self, id: int) -> bool:
        """Cut a connection off. False if it is gone."""

    def stop(self, drain_seconds: float = 10.0) -> bool:
        """Take no more connections and requests, and return when those that came are answered.

        What is not over after `drain_seconds` is cut off; then False.
        """

@final
class ClientTls:
    """Whom a client trusts, and how it proves who it is: PEM files, read now (`invalid` when unfit)."""

    def __init__(
        self,
        *,
        ca: str | PathLike[str] | None = None,
        server_name: str | None = None,
        fingerprint: bytes | None = None,
        certificate: str | PathLike[str] | None = None,
        key: str | PathLike[str] | None = None,
    ) -> None:
        """`ca`: the authorities that a server's certificate must come from; None: those of the system.

        `server_name`: the name that the certificate must bear, if not the host's (over a Unix socket:
        `localhost`). `fingerprint`: the SHA-256 of the one certificate that is trusted instead, whatever
        it says. `certificate` and `key`: the client's own, for servers that ask for one.
        """

@final
class NbdClient:
    """One export of an NBD server, as a disk.

    Any number of threads may call at the same time: their requests share one connection and are in flight
    together. Long ranges go in pieces; when one of them fails, others may have been done. Ranges must lie
    within the disk, and be multiples of the server's smallest block, which is one byte for most (`invalid`
    if not). A server's error has the server's own words where it gives any: `read-only`, `no-space`,
    `invalid`, `stale` (the image is gone) or `io`. When the connection is lost, or the server breaks the
    protocol, all calls in flight and every later one fail with `io`.
    """

    @staticmethod
    def connect(
        address: str,
        export: str,
        *,
        tls: ClientTls | None = None,
        timeout_seconds: float = 30.0,
        contexts: Sequence[str] = (),
    ) -> NbdClient:
        """Open an export; `address` is `unix:PATH` or `tcp:HOST:PORT`.

        With `tls`, a server that does not encrypt is refused. The time limit is for all of connecting; calls
        have none (a host that vanishes is noticed within a minute or two). `contexts`: what else than
        `base:allocation` `extents` will be asked for (for any other, it makes another connection).

        Raises `missing` (no server there, or no such export), `refused` (by the server, or its certificate
        by us), `invalid` (an address that is none, a server that is too old) or `io`.
        """
    @property
    def size(self) -> int: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def dialect(self) -> Literal["simple", "structured", "extended"]:
        """How the server tells replies: only an extended one takes lengths beyond 32 bits in one request."""
    @property
    def contexts(self) -> list[str]:
        """The contexts of block status that the server granted to this connection."""
    def read(self, offset: int, length: int) -> bytes: ...
    def read_into(self, offset: int, buffer: Buffer) -> None:
        """Fill a writable, contiguous buffer. After an error, any of its bytes may have changed."""
    def write(self, offset: int, data: Buffer, *, fua: bool = False) -> None:
        """With `fua`, the data is durable on return (by a flush, where the server knows nothing better)."""
    def discard(self, offset: int, length: int) -> None:
        """Give the range's space back; on a cowshed server it reads as zeros afterwards."""
    def write_zeroes(self, offset: int, length: int) -> None: ...
    def flush(self) -> None:
        """Return when all writes that had returned before the call are durable."""
    def extents(
        self, offset: int, length: int, context: str = "base:allocation"
    ) -> list[tuple[int, int, int]]:
        """`(offset, length, flags)` pieces that cover the range in order, without gaps.

        For `base:allocation`, flag 1: nothing is stored there, 2: it reads as zeros; a server that does not
        offer it is taken to have data everywhere. For `cowshed:diff:NAME`, flag 1: it may read otherwise
        than in that snapshot. Any other context that the server does not know is `missing`.
        """
    def close(self) -> None:
        """End the connection; calls in flight and later ones fail with `closed`."""
    def __enter__(self) -> NbdClient: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

# --- a disk as a file

@final
class FuseMount:
    """A disk as a file: a FUSE file system that holds one file. Unmounted when it is forgotten."""

    @staticmethod
    def mount(
        disk: Disk | NbdClient,
        directory: str | PathLike[str],
        *,
        file: str = "disk",
        source: str = "cowshed",
        read_only: bool = False,
        threads: int = 8,
        patience_seconds: float = 0.0,
    ) -> FuseMount:
        """Show `disk` as the file `file` in `directory`, which must be there.

        What is written to the file is not durable before an fsync; a hole punched in it is a discard.
        `source` is what the list of mounts shows; `threads` is how many requests are worked on at once.
        An NbdClient whose server goes away is connected again, and requests wait so long for it; what was
        written and is not known to be durable (64 MiB at most) is then written again.
        """
    @property
    def path(self) -> str:
        """Of the file."""
    def wait(self) -> str | None:
        """Wait for something to tell: the words of a failed request, or None when it is unmounted.

        The same words in a row are told once. For one thread: each word is told to one caller only.
        """
    def unmount(self) -> None:
        """Return when the last request is answered and all is durable.

        While the file is open it stays mounted: `conflict`.
        """
