"""`RemoteImage`: an open image of a store that a daemon serves. Its bytes go by NBD, all else by HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from cowshed import native
from cowshed._kernel import KernelError, NbdClient
from cowshed.errors import Closed, CowshedError, InvalidArgument, IOFailure, ReadOnly
from cowshed.process import Home
from cowshed.refusals import translated
from cowshed.remote.handle import Handle
from cowshed.remote.keeping import keeper
from cowshed.store.image import Image
from cowshed.store.records import Extent, Locker
from cowshed.store.spec import ImageSpec, SnapSpec
from cowshed.wire.answers import DiffPage

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on


class RemoteImage(Image):
    """Large reads and writes are cut and sent ahead by the NBD client, which takes any thread.

    It connects when the disk is first used, or has been open for a while (`keeping`).
    """

    __slots__ = (
        "_closed",
        "_data",
        "_handle",
        "_home",
        "_lock",
        "_read_only",
        "_spec",
        "_written",
    )

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._home = Home()
        self._spec = handle.spec
        self._read_only = handle.read_only
        self._written = False
        self._closed = False
        self._lock = native.lock()
        self._data: NbdClient | None = None
        keeper.add(self)

    def keep(self) -> None:
        """Connect it, if it is open and was not used yet. Whoever uses it hears what is wrong with that."""
        with suppress(CowshedError):
            self._open_data()

    def _connect(self, instead_of: NbdClient | None) -> NbdClient:
        """A connection that knows the size of now. What is under way on an older one is left to end.

        Several threads may come to need one: the first one's is everyone's. Raises Closed where the image was
        closed meanwhile.
        """
        made = self._handle.connect()
        keeper.remove(self)
        with self._lock:
            if self._data is instead_of and not self._closed:
                self._data = made
                return made
            found = self._data
        made.close()
        if found is None:
            raise Closed(f"{str(self._spec)!r} was closed")
        return found

    def _check_open(self) -> None:
        """Raises Closed, and Forked in a process that was forked from its own."""
        if self._closed:
            raise Closed(f"{str(self._spec)!r} was closed")
        self._home.check(repr(str(self._spec)))

    def _open_data(self) -> NbdClient:
        data = self._data
        self._check_open()
        return self._connect(None) if data is None else data

    def _reaching(self, offset: int, length: int) -> NbdClient:
        """The connection, for a range within the disk. Raises InvalidArgument for any other."""
        data = self._open_data()
        # Against its own size, as another thread may be putting a newer one in its place.
        if offset + length <= data.size:
            return data
        size = self._handle.size()
        if data.size < offset + length <= size:
            # Others may do the same at this time: the lock is not held while the daemon is asked.
            data = self._connect(data)
        if offset + length <= data.size:
            return data
        raise InvalidArgument(f"{length} bytes at {offset} do not lie within the disk of {size} bytes")

    def _writable(self, offset: int, length: int) -> NbdClient:
        if self._read_only:
            self._check_open()
            raise ReadOnly(
                f"{str(self._spec)!r} is open read-only",
                hint="a snapshot cannot be written; clone it" if isinstance(self._spec, SnapSpec) else None,
            )
        data = self._reaching(offset, length)
        self._written = True
        return data

    def _refused(self, error: KernelError, end: int = 0) -> CowshedError:
        """The error for a request that reached up to `end`."""
        if error.kind == "no-space" and end > self._handle.size():
            # So NBD says that it is beyond the end: another client has made the image smaller.
            return InvalidArgument(str(error))
        if error.kind == "read-only" and not self._read_only:
            return ReadOnly(
                f"{str(self._spec)!r} cannot be written: another who has it open holds the exclusive lock",
                hint="wait until it is let go",
            )
        if error.kind == "io":
            return IOFailure(
                str(error),
                hint="if the daemon was started anew, open the image again; else its log says more",
            )
        return translated(error)

    @property
    def spec(self) -> ImageSpec | SnapSpec:
        return self._spec

    @property
    def image_id(self) -> str:
        return self._handle.image_id

    @property
    def size(self) -> int:
        self._check_open()
        return self._handle.size()

    @property
    def read_only(self) -> bool:
        return self._read_only

    def close(self) -> None:
        if not self._home.is_here:
            self._data, self._closed = None, True
            return
        keeper.remove(self)
        with self._lock:
            data, self._data = self._data, None
            closed, self._closed = self._closed, True
        if closed:
            return
        failure: CowshedError | None = None
        try:
            if self._written and data:
                data.flush()
        except KernelError as error:
            if error.kind != "stale":  # a removed image has nothing left to keep
                failure = self._refused(error)
        try:
            self._handle.close(written=self._written)
        except CowshedError as error:
            if self._written:
                failure = failure or error
        if data:
            data.close()
        if failure:
            raise failure

    def read(self, offset: int, length: int) -> bytes:
        try:
            return self._reaching(offset, length).read(offset, length)
        except KernelError as error:
            raise self._refused(error) from None

    def read_into(self, offset: int, buffer: Buffer) -> None:
        try:
            self._reaching(offset, memoryview(buffer).nbytes).read_into(offset, buffer)
        except KernelError as error:
            raise self._refused(error) from None

    def write(self, offset: int, data: Buffer) -> None:
        length = memoryview(data).nbytes
        try:
            self._writable(offset, length).write(offset, data)
        except KernelError as error:
            raise self._refused(error, offset + length) from None

    def discard(self, offset: int, length: int) -> None:
        try:
            self._writable(offset, length).discard(offset, length)
        except KernelError as error:
            raise self._refused(error, offset + length) from None

    def write_zeroes(self, offset: int, length: int) -> None:
        try:
            self._writable(offset, length).write_zeroes(offset, length)
        except KernelError as error:
            raise self._refused(error, offset + length) from None

    def flush(self) -> None:
        self._check_open()
        if (data := self._data) is None:
            return  # nothing was written here
        try:
            data.flush()
        except KernelError as error:
            raise self._refused(error) from None

    @property
    def is_lock_owner(self) -> bool:
        self._check_open()
        if self._read_only:
            return False
        try:
            return self._handle.lock().mine
        except InvalidArgument:
            return False  # an image without the feature has no owner

    def lock_acquire(self, *, automatic: bool = False) -> None:
        handle = self._lockable()
        # Connected, so that the lock is free again soon after this process dies.
        self._open_data()
        handle.acquire(automatic=automatic)

    def lock_release(self) -> None:
        self._lockable().release()

    def lock_owner(self) -> Locker | None:
        return self._lockable().lock().owner

    def lock_break(self, cookie: str) -> None:
        self._lockable().break_owner(cookie)

    def _lockable(self) -> Handle:
        self._check_open()
        if self._read_only:
            raise ReadOnly(f"{str(self._spec)!r} is open read-only, and has no exclusive lock")
        return self._handle

    def diff(
        self,
        from_snapshot: str | None = None,
        *,
        offset: int = 0,
        length: int | None = None,
        own: bool = False,
    ) -> Iterator[Extent]:
        self._check_open()
        # The first piece is asked for now: it tells what is wrong with the question.
        page = self._handle.diff(from_snapshot, offset, length, own)
        return self._merged(page, from_snapshot, None if length is None else offset + length, own)

    def _merged(
        self, page: DiffPage, from_snapshot: str | None, end: int | None, own: bool
    ) -> Iterator[Extent]:
        """All pieces, with extents that meet at their borders made one."""
        last: Extent | None = None
        while True:
            for extent in page.extents:
                if last and last.end == extent.offset and last.exists == extent.exists:
                    last = Extent(last.offset, last.length + extent.length, extent.exists)
                    continue
                if last:
                    yield last
                last = extent
            if page.next is None:
                break
            self._check_open()
            page = self._handle.diff(from_snapshot, page.next, None if end is None else end - page.next, own)
        if last:
            yield last
