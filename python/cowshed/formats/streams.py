"""Reading and writing binary streams to the last byte: files, pipes, sockets' files, BytesIO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cowshed.errors import CowshedError, FormatError, from_os_error

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on


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


def write_all(stream: Writable, data: Buffer) -> None:
    """Write all of it. Raises NoSpace, Disconnected, IOFailure."""
    view = memoryview(data).cast("B")
    try:
        while view:
            count = stream.write(view)
            view = view[len(view) if count is None else count :]
    except OSError as error:
        raise failed(error, "writing", stream) from None


def failed(error: OSError, doing: str, stream: object) -> CowshedError:
    """The error to raise for what the operating system said about a stream."""
    return from_os_error(error, f"{doing} {name_of(stream)}")
