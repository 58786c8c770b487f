"""Raw disk images: plain bytes, with holes where a regular file has them."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Generator, Iterator
from typing import BinaryIO

from cowshed.errors import FormatError
from cowshed.formats.source import PIECE
from cowshed.formats.streams import failed, name_of, read_up_to, write_all

_ZEROS = memoryview(bytes(PIECE))
_AHEAD = 8 << 20
"""Bytes written to a file before the disk is set to work on them."""


class RawSource:
    """A raw image to read: a regular file or block device from where it stands, or a pipe.

    `size` is None for a pipe: known only when it has ended.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._fd = -1
        self._base = 0
        self.size: int | None = None
        try:
            if not stream.seekable():
                _widen(stream)
                return
            self._base = stream.tell()
            self.size = stream.seek(0, os.SEEK_END) - self._base
            stream.seek(self._base)
            self._fd = _descriptor(stream)
        except OSError as error:
            raise failed(error, "reading", stream) from None

    def pieces(self, ring: int) -> Generator[tuple[int, memoryview], None, None]:
        """Offset and content of all that is data, ascending, in pieces of PIECE at most; holes are left out.

        A piece stays as it is until `ring - 1` more were taken. Raises IOFailure, and FormatError for a
        file that shrinks meanwhile.
        """
        buffers = [memoryview(bytearray(PIECE)) for _ in range(ring)]
        turn = 0
        for offset, length in self._data_ranges():
            end = offset + length
            while offset < end:
                buffer = buffers[turn % ring]
                turn += 1
                count = self._read(offset, buffer[: min(PIECE, end - offset)])
                if count:
                    yield offset, buffer[:count]
                offset += count
                if count < PIECE and offset < end:
                    if self.size is None:
                        return
                    raise FormatError(f"{name_of(self._stream)} became shorter while it was read")

    def _data_ranges(self) -> Iterator[tuple[int, int]]:
        if self._fd < 0:
            yield 0, 1 << 62 if self.size is None else self.size
            return
        assert self.size is not None
        base, end = self._base, self._base + self.size
        os.posix_fadvise(self._fd, base, self.size, os.POSIX_FADV_SEQUENTIAL)
        at = base
        while at < end:
            start = self._seek(at, os.SEEK_DATA, end)
            stop = min(end, self._seek(start, os.SEEK_HOLE, end)) if start < end else end
            if start < stop:
                yield start - base, stop - start
            at = stop

    def _seek(self, offset: int, whence: int, end: int) -> int:
        """Where the next data or hole begins; a device that knows no holes is all data."""
        try:
            return os.lseek(self._fd, offset, whence)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing of the kind up to the end
                return end
            if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                return offset if whence == os.SEEK_DATA else end
            raise failed(error, "reading", self._stream) from None

    def _read(self, offset: int, view: memoryview) -> int:
        if self._fd < 0:
            return read_up_to(self._stream, view)  # type: ignore[arg-type]  # every binary stream has readinto
        done = 0
        try:
            while done < len(view):
                count = os.preadv(self._fd, [view[done:]], self._base + offset + done)
                if not count:
                    break
                done += count
        except OSError as error:
            raise failed(error, "reading", self._stream) from None
        return done


class RawSink:
    """Where a raw image of `size` bytes is written, pieces ascending; what is left out reads as zeros.

    An empty regular file stays sparse; anything else (a pipe, a device, a file that is appended to) gets
    every byte. `finish` completes it, and makes a file durable. All raise NoSpace, Disconnected, IOFailure.
    """

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._at = 0
        self._started = 0
        try:
            stream.flush()
            self._fd = _descriptor(stream)
            # It gets its length at the end: a file that grows is written faster than one with a large hole.
            self._sparse = self._fd >= 0 and _takes_holes(self._fd)
        except OSError as error:
            raise failed(error, "writing", stream) from None

    def write(self, offset: int, data: memoryview) -> None:
        if self._sparse:
            try:
                while data:
                    count = os.pwrite(self._fd, data, offset)
                    offset, data = offset + count, data[count:]
                if offset - self._started >= _AHEAD:
                    # Linux starts to write such pages out, and keeps them until that is done. Left to
                    # itself it waits for gigabytes of them, and the disk has nothing to do meanwhile.
                    os.posix_fadvise(self._fd, self._started, offset - self._started, os.POSIX_FADV_DONTNEED)
                    self._started = offset
            except OSError as error:
                raise failed(error, "writing", self._stream) from None
            return
        self._fill(offset)
        write_all(self._stream, data)
        self._at += len(data)

    def _fill(self, offset: int) -> None:
        while self._at < offset:
            count = min(PIECE, offset - self._at)
            write_all(self._stream, _ZEROS[:count])
            self._at += count

    def finish(self) -> None:
        try:
            if self._sparse:
                os.ftruncate(self._fd, self._size)
                os.lseek(self._fd, self._size, os.SEEK_SET)
            else:
                self._fill(self._size)
                self._stream.flush()
            if self._fd >= 0 and _is_durable(self._fd):
                os.fsync(self._fd)
        except OSError as error:
            raise failed(error, "writing", self._stream) from None


def _descriptor(stream: BinaryIO) -> int:
    """The file descriptor behind a stream, or -1 (as with BytesIO)."""
    try:
        return stream.fileno()
    except OSError:
        return -1


def _widen(pipe: BinaryIO) -> None:
    """Let a pipe hold a whole piece, so that its writer works on while we do. Only speed hangs on it."""
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIECE)


def _is_durable(fd: int) -> bool:
    """Whether there is a disk behind it."""
    mode = os.fstat(fd).st_mode
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


def _takes_holes(fd: int) -> bool:
    """Whether it is an empty regular file that is written where we say (and not appended to)."""
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode) or info.st_size:
        return False
    import fcntl

    return not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
