"""Bytes of an open image: read, written, discarded, compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cowshed.compat.rbd.arguments import integer, text, unsigned
from cowshed.compat.rbd.constants import RBD_WRITE_ZEROES_FLAG_THICK_PROVISION
from cowshed.compat.rbd.errors import IncompleteWriteError
from cowshed.compat.rbd.image_locks import Locks
from cowshed.compat.rbd.opened import answered
from cowshed.compat.rbd.translating import make_error
from cowshed.errors import InvalidArgument
from cowshed.store import Image as StoreImage

_MOST_DISCARDED = (1 << 31) - 1
"""librbd counts what it discards in an int, and refuses more."""


class InputOutput(Locks):
    """librbd's rule for ranges: what begins within the image is cut at its end, the rest is refused."""

    @answered("error reading from")
    def read(self, offset: int, length: int, fadvise_flags: int = 0) -> bytes:
        """Up to `length` bytes: fewer at the end of the image. Raises InvalidArgument behind it."""
        disk = self._disk()
        offset, length = unsigned(offset), _within(disk, unsigned(offset), unsigned(length))
        return disk.read(offset, length) if length else b""

    @answered("error writing to")
    def write(self, data: bytes, offset: int, fadvise_flags: int = 0) -> int:
        """Returns how many bytes were written.

        Raises InvalidArgument for a range that begins behind the end, IncompleteWriteError for one that
        reaches beyond it, ReadOnlyImage.
        """
        if not isinstance(data, bytes):
            raise TypeError("data must be a byte string")
        offset = unsigned(offset)
        if not data:
            return 0
        self._guarded()
        length = _within(self._disk(), offset, len(data))
        self._as_owner(lambda disk: disk.write(offset, data[:length]))
        if length < len(data):
            raise IncompleteWriteError(f"only wrote {length} out of {len(data)} bytes")
        return length

    @answered("error discarding region of")
    def discard(self, offset: int, length: int) -> None:
        """The range reads as zeros then, and takes no space. Raises InvalidArgument for 2 GiB or more."""
        if unsigned(length) > _MOST_DISCARDED:
            raise make_error(22, f"error discarding region {offset}~{length}")
        self._unmap(offset, length, lambda disk, start, part: disk.discard(start, part))

    @answered("error zeroing region of")
    def write_zeroes(self, offset: int, length: int, zero_flags: int = 0) -> None:
        """As `discard`. RBD_WRITE_ZEROES_FLAG_THICK_PROVISION is taken: zeros are never stored here."""
        if integer(zero_flags) & ~RBD_WRITE_ZEROES_FLAG_THICK_PROVISION:
            raise make_error(22, f"error zeroing region of image {self._called!r}")
        self._unmap(offset, length, lambda disk, start, part: disk.write_zeroes(start, part))

    def _unmap(self, offset: int, length: int, way: Callable[[StoreImage, int, int], None]) -> None:
        offset, length = unsigned(offset), unsigned(length)
        self._guarded()
        length = _within(self._disk(), offset, length)
        if length:
            self._as_owner(lambda disk: way(disk, offset, length))

    @answered("error flushing")
    def flush(self) -> None:
        """Block until all writes are durable."""
        if self._head is not None and not self._read_only:
            self._head.flush()

    @answered("error invalidating cache of")
    def invalidate_cache(self) -> None:
        """Drop cached data: there is none, as reads see what was written last by anyone."""

    @answered("error generating diff from")
    def diff_iterate(
        self,
        offset: int,
        length: int,
        from_snapshot: str | None,
        iterate_cb: Callable[[int, int, bool], int | None],
        include_parent: bool = True,
        whole_object: bool = False,
    ) -> None:
        """Call `iterate_cb(offset, length, exists)` for each extent that changed since a snapshot.

        With None as the snapshot: for all that has data; without `include_parent` for that in which a clone
        differs from its parent. The other end is the image, or the snapshot that is chosen. Exact to 4 KiB,
        or with `whole_object` widened to whole objects, as far as they lie within the range: `exists` then
        says whether there is data anywhere in the object. What the callback raises comes out of this call; a
        negative number that it returns ends it as that errno.

        Raises ImageNotFound, InvalidArgument for a newer snapshot or a range behind the end.
        """
        offset, length = unsigned(offset), unsigned(length)
        start = text(from_snapshot, "from_snapshot", opt=True)
        if not callable(iterate_cb):
            raise TypeError(f"{type(iterate_cb).__name__!r} object is not callable")
        disk = self._disk()
        newest = self._snap.id if self._snap else None
        if start is not None and newest is not None and self._by_name(start).id > newest:
            raise InvalidArgument(f"snapshot {start!r} is newer than what is compared")
        length = _within(disk, offset, length)
        if not length:
            return
        found = disk.diff(start, offset=offset, length=length, own=not include_parent)
        extents: Iterator[tuple[int, int, bool]] = ((e.offset, e.length, e.exists) for e in found)
        if start is None:
            # Zeros that hide a parent's data are a clone's own as other data is.
            extents = ((at, size, True) for at, size, _ in extents)
        if whole_object:
            extents = _widened(extents, 1 << self._stat().order, disk, range(offset, offset + length))
        for extent in extents:
            answer = iterate_cb(*extent)
            if isinstance(answer, int) and answer < 0:
                raise make_error(answer, f"error generating diff from snapshot {start!r}")


def _within(disk: StoreImage, offset: int, length: int) -> int:
    """How much of a range lies within the disk. Raises InvalidArgument where none of it can."""
    if not length:
        return 0
    size = disk.size
    if offset > size or (offset == size and length):
        raise InvalidArgument(f"offset {offset} is not within the image of {size} bytes")
    return min(length, size - offset)


def _widened(
    extents: Iterator[tuple[int, int, bool]], step: int, disk: StoreImage, within: range
) -> Iterator[tuple[int, int, bool]]:
    """Each object that an extent touches, once, cut to the range that was asked for."""
    last: tuple[int, bool] | None = None
    for offset, length, exists in extents:
        for start in range(offset - offset % step, offset + length, step):
            if last and last[0] == start:
                last = start, last[1] or exists
                continue
            if last:
                yield _whole(*last, step, disk, within)
            last = start, exists
    if last:
        yield _whole(*last, step, disk, within)


def _whole(start: int, exists: bool, step: int, disk: StoreImage, within: range) -> tuple[int, int, bool]:
    """An object: there is data in it if in what changed, or else if anywhere."""
    end = min(start + step, disk.size)
    exists = exists or next(iter(disk.diff(offset=start, length=end - start)), None) is not None
    first, last = max(start, within.start), min(end, within.stop)
    return first, last - first, exists
