"""The rbd diff format, version 1 (Ceph's doc/dev/rbd-diff.rst): what changed between two snapshots.

    "rbd diff v1\\n"
    f  le32 length, name        the start snapshot     } in any order,
    t  le32 length, name        the end snapshot       } before all data;
    s  le64 size                of the image at the end} f and t may be missing
    w  le64 offset, le64 length, data
    z  le64 offset, le64 length                        reads as zeros
    e                                                  the end

The reader takes nothing on trust: every length and range is checked before it is used, and memory is
bounded whatever the stream claims.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cowshed.errors import FormatError
from cowshed.formats.streams import Readable, Writable, name_of, read_exactly, read_up_to, write_all

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

BANNER = b"rbd diff v1\n"
MAX_NAME = 4096
"""Bytes in a snapshot's name; what `rbd import-diff` takes at most."""
PIECE = 1 << 20
"""Bytes of data handed over at once: a record of data may be as long as the image."""


@dataclass(frozen=True, slots=True)
class Header:
    from_snapshot: str | None
    to_snapshot: str | None
    size: int
    """Bytes in the image at the end."""


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of data; a long record comes in several."""

    offset: int
    data: bytearray


@dataclass(frozen=True, slots=True)
class Zeros:
    offset: int
    length: int


class Reader:
    """Reads the header when made; `records` then reads up to the end record and not a byte beyond.

    Both raise FormatError for a stream that is no such diff, is cut short or contradicts itself.
    `consumed` counts the bytes read so far.
    """

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.consumed = 0
        banner = self._take(len(BANNER), "the banner")
        if banner != BANNER:
            raise FormatError(f"{name_of(stream)} is no rbd diff v1: it begins with {bytes(banner)!r}")
        self._tag = b""
        self.header = self._read_header()

    def _take(self, length: int, what: str) -> bytearray:
        buffer = bytearray(length)
        read_exactly(self._stream, memoryview(buffer), what)
        self.consumed += length
        return buffer

    def _numbers(self, layout: str, what: str) -> tuple[int, ...]:
        return struct.unpack(layout, self._take(struct.calcsize(layout), what))

    def _next_tag(self, what: str) -> bytes:
        tag = bytes(self._take(1, what))
        if tag not in (b"f", b"t", b"s", b"w", b"z", b"e"):
            raise FormatError(
                f"{name_of(self._stream)} has an unknown record {tag!r} at byte {self.consumed - 1}"
            )
        return tag

    def _read_header(self) -> Header:
        names: dict[bytes, str] = {}
        size: int | None = None
        while (tag := self._next_tag("the header")) in (b"f", b"t", b"s"):
            if tag in names or (tag == b"s" and size is not None):
                raise FormatError(f"{name_of(self._stream)} has two records {tag.decode()!r}")
            if tag == b"s":
                (size,) = self._numbers("<Q", "the size")
            else:
                names[tag] = self._name()
        if size is None:
            raise FormatError(f"{name_of(self._stream)} does not say how large the image is")
        self._tag = tag
        return Header(names.get(b"f"), names.get(b"t"), size)

    def _name(self) -> str:
        (length,) = self._numbers("<I", "a snapshot's name")
        if not 0 < length <= MAX_NAME:
            raise FormatError(f"{name_of(self._stream)} has a snapshot name of {length} bytes")
        try:
            return self._take(length, "a snapshot's name").decode()
        except UnicodeDecodeError:
            raise FormatError(f"{name_of(self._stream)} has a snapshot name that is not UTF-8") from None

    def records(self) -> Generator[Data | Zeros, None, None]:
        """What changed, in the order of the stream; later records win where they overlap."""
        while self._tag != b"e":
            if self._tag not in (b"w", b"z"):
                raise FormatError(
                    f"{name_of(self._stream)} has a header record {self._tag.decode()!r} behind data"
                )
            offset, length = self._numbers("<QQ", "a record")
            if offset + length > self.header.size:
                raise FormatError(
                    f"{name_of(self._stream)} has a record at {offset} of {length} bytes,"
                    f" beyond its size {self.header.size}"
                )
            if self._tag == b"z":
                yield Zeros(offset, length)
            else:
                end = offset + length
                while offset < end:
                    data = self._take(min(PIECE, end - offset), "data")
                    yield Data(offset, data)
                    offset += len(data)
            self._tag = self._next_tag("the records: the end record is missing")

    def expect_end(self) -> None:
        """Raises FormatError if anything follows the end record."""
        if read_up_to(self._stream, memoryview(bytearray(1))):
            raise FormatError(
                f"{name_of(self._stream)} goes on behind its end record", hint="import one diff at a time"
            )


class Writer:
    """Writes the header when made; `end` completes the stream. Raises NoSpace, Disconnected, IOFailure."""

    def __init__(self, stream: Writable, header: Header) -> None:
        self._stream = stream
        parts = [BANNER]
        for tag, name in ((b"f", header.from_snapshot), (b"t", header.to_snapshot)):
            if name is not None:
                encoded = name.encode()
                parts += [tag, struct.pack("<I", len(encoded)), encoded]
        parts += [b"s", struct.pack("<Q", header.size)]
        write_all(stream, b"".join(parts))

    def data(self, offset: int, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        write_all(self._stream, struct.pack("<cQQ", b"w", offset, len(view)))
        write_all(self._stream, view)

    def zeros(self, offset: int, length: int) -> None:
        write_all(self._stream, struct.pack("<cQQ", b"z", offset, length))

    def end(self) -> None:
        write_all(self._stream, b"e")
