"""Reading and writing binary streams to the last byte: files, pipes, sockets' files, BytesIO."""

from __future__ import annotations

import errno
import io
import os
import struct
from typing import TYPE_CHECKING, BinaryIO, Protocol

from cowshed.errors import CowshedError, FormatError, from_os_error

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

_SKIP = 1 << 16
"""Bytes skipped at once."""


class Readable(Protocol):
    """What is read from; short reads are fine, 0 is the end."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


class Writable(Protocol):
    """What is written to; short writes are fine."""

    def write(self, data: Buffer, /) -> int | None: ...


def name_of(stream: object) -> str:
    """How to call a stream in an error: the path of a file, else what it is."""
    name = getattr(stream, "name", None)
    if isinstance(name, str):
        return name.strip("<>")
    return "the stream"


def read_up_to(stream: Readable, buffer: memoryview) -> int:
    """Fill the buffer, or as much of it as the stream still has; returns how much. Raises IOFailure."""
    done = 0
    try:
        while done < len(buffer):
            count = stream.readinto(buffer[done:])
            if not count:
                break
            done += count
    except OSError as error:
        raise failed(error, "reading", stream) from None
    return done


def read_exactly(stream: Readable, buffer: memoryview, what: str) -> None:
    """Fill the buffer. Raises FormatError when the stream ends before, within `what`."""
    if read_up_to(stream, buffer) < len(buffer):
        raise FormatError(f"{name_of(stream)} ends within {what}", hint="it was cut short")


class Source:
    """A stream that is read in exact pieces, of a format that says how long they are.

    What the stream claims is the caller's to bound before it asks for so much: `take` allocates it at once.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.consumed = 0
        """Bytes read so far."""

    @property
    def name(self) -> str:
        """How to call the stream in an error."""
        return name_of(self._stream)

    def error(self, complaint: str, *, hint: str | None = None) -> FormatError:
        """The error to raise for what is wrong with the stream."""
        return FormatError(f"{self.name} {complaint}", hint=hint)

    def take(self, length: int, what: str) -> bytearray:
        """The next `length` bytes. Raises FormatError when the stream ends before, within `what`."""
        buffer = bytearray(length)
        read_exactly(self._stream, memoryview(buffer), what)
        self.consumed += length
        return buffer

    def numbers(self, layout: str, what: str) -> tuple[int, ...]:
        """Integers in a layout of `struct`. Raises FormatError as `take`."""
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))

    def text(self, what: str, least: int, most: int) -> str:
        """A text with its le32 length before it, of `least` to `most` bytes. Raises FormatError."""
        (length,) = self.numbers("<I", f"a {what}")
        if not least <= length <= most:
            raise self.error(f"has a {what} of {length} bytes")
        try:
            return self.take(length, f"a {what}").decode()
        except UnicodeDecodeError:
            raise self.error(f"has a {what} that is not UTF-8") from None

    def skip(self, length: int, what: str) -> None:
        """Read over bytes that are of no use. Raises FormatError as `take`."""
        while length:
            length -= len(self.take(min(length, _SKIP), what))

    def expect_end(self, complaint: str, *, hint: str | None = None) -> None:
        """Raises FormatError with that complaint if the stream goes on."""
        if read_up_to(self._stream, memoryview(bytearray(1))):
            raise self.error(complaint, hint=hint)


def write_all(stream: Writable, data: Buffer) -> None:
    """Write all of it. Raises NoSpace, Disconnected, IOFailure."""
    view = memoryview(data).cast("B")
    try:
        while view:
            count = stream.write(view)
            view = view[len(view) if count is None else count :]
    except OSError as error:
        raise failed(error, "writing", stream) from None


def length_of(stream: BinaryIO) -> int:
    """Bytes in a file from where it stands to its end; 0 for a pipe. Raises IOFailure."""
    try:
        if not stream.seekable():
            return 0
        at = stream.tell()
        end = stream.seek(0, os.SEEK_END)
        stream.seek(at)
        return end - at
    except OSError as error:
        raise failed(error, "reading", stream) from None


def settle(stream: BinaryIO) -> None:
    """Bring what was written to the disk, where there is one behind it. Raises NoSpace, IOFailure."""
    try:
        stream.flush()
        os.fsync(stream.fileno())
    except OSError as error:
        # A pipe or terminal cannot be synced, and BytesIO has nothing to sync.
        if not isinstance(error, io.UnsupportedOperation) and error.errno not in (errno.EINVAL, errno.EROFS):
            raise failed(error, "writing", stream) from None


def failed(error: OSError, doing: str, stream: object) -> CowshedError:
    """The error to raise for what the operating system said about a stream."""
    return from_os_error(error, f"{doing} {name_of(stream)}")
