"""The bytes of one image file, read at any place."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from cowshed.errors import CowshedError, FormatError, InvalidArgument
from cowshed.formats.streams import failed, name_of, read_up_to


class ImageFile:
    """An open file, from where it stands, which it keeps to. Who opened the stream closes it.

    Raises InvalidArgument for a pipe, IOFailure.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.name = name_of(stream)
        self._fd = -1
        try:
            if not stream.seekable():
                raise InvalidArgument(
                    f"{self.name} is no file that can be read at any place, as its format needs",
                    hint="save it to a file first",
                )
            self._base = stream.tell()
            self.length = stream.seek(0, os.SEEK_END) - self._base
            stream.seek(self._base)
            self.has_holes = False
            try:
                self._fd = stream.fileno()
            except OSError:  # as with BytesIO
                return
            info = os.fstat(self._fd)
            self.has_holes = stat.S_ISREG(info.st_mode) and info.st_blocks * 512 < info.st_size
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> CowshedError:
        return failed(error, "reading", self.stream)

    @property
    def any_thread(self) -> bool:
        """Whether several threads may read at once."""
        return self._fd >= 0

    def will_be_read_in_order(self) -> None:
        """Let the system read further ahead. Only speed hangs on it."""
        if self._fd >= 0:
            os.posix_fadvise(self._fd, self._base, self.length, os.POSIX_FADV_SEQUENTIAL)

    def read_into(self, offset: int, view: memoryview, what: str) -> None:
        """Fill the view. Raises FormatError where the file ends before, within `what`, and IOFailure."""
        done = 0
        try:
            if self._fd < 0:
                self.stream.seek(self._base + offset)
                done = read_up_to(self.stream, view)  # type: ignore[arg-type]  # has readinto
                self.stream.seek(self._base)
            while self._fd >= 0 and done < len(view):
                count = os.preadv(self._fd, [view[done:]], self._base + offset + done)
                if not count:
                    break
                done += count
        except OSError as error:
            raise self._failed(error) from None
        if done < len(view):
            raise FormatError(f"{self.name} ends within {what}", hint="it was cut short")

    def read(self, offset: int, length: int, what: str) -> bytearray:
        """As `read_into`; the length is checked before memory is taken for it."""
        self.check_range(offset, length, what)
        buffer = bytearray(length)
        self.read_into(offset, memoryview(buffer), what)
        return buffer

    def check_range(self, offset: int, length: int, what: str) -> None:
        """Raises FormatError unless the range lies within the file."""
        if offset + length > self.length:
            raise FormatError(
                f"{self.name} has {what} at {offset:#x}, {length} bytes, beyond its end at {self.length:#x}",
                hint="it was cut short, or it lies",
            )

    def data_ranges(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Offset and length of what is data within a range of the file; the rest are holes."""
        if self._fd < 0:
            yield offset, length
            return
        at, end = self._base + offset, self._base + offset + length
        while at < end:
            start = self._seek(at, os.SEEK_DATA, end)
            stop = min(end, self._seek(start, os.SEEK_HOLE, end)) if start < end else end
            if start < stop:
                yield start - self._base, stop - start
            at = stop

    def _seek(self, offset: int, whence: int, end: int) -> int:
        """Where the next data or hole begins; a file system that knows no holes has all data."""
        try:
            return os.lseek(self._fd, offset, whence)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing of the kind up to the end
                return end
            if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                return offset if whence == os.SEEK_DATA else end
            raise self._failed(error) from None


class Budget:
    """What one walk through a disk's tables may read of a file: each of its bytes once.

    In one disk no two guest clusters share a host cluster, and no two L1 entries an L2 table: QEMU never
    makes such images. So tables that ask for more bytes than there are name some of them twice, and
    without this bound a kilobyte of tables could stand for exabytes of data.
    """

    def __init__(self, file: ImageFile) -> None:
        self._name = file.name
        self._left = file.length

    def spend(self, count: int) -> None:
        """Raises FormatError when the file has no so many bytes left."""
        self._left -= count
        if self._left < 0:
            raise FormatError(
                f"{self._name} has tables that use the same bytes over and over",
                hint="`qemu-img check` tells",
            )
