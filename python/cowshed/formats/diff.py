"""The rbd diff formats (Ceph's doc/dev/rbd-diff.rst): what changed between two snapshots.

    "rbd diff v1\\n" or "rbd diff v2\\n"
    f  le32 length, name        the start snapshot          }
    t  le32 length, name        the end snapshot            } in any order, before all data;
    s  le64 size                of the image at the end     } all but s may be missing
    p  u8                       whether t is protected (v2) }
    w  le64 offset, le64 length, data
    z  le64 offset, le64 length                        reads as zeros
    e                                                  the end

In version 2 an le64 stands behind every tag but e: the bytes of the record behind it, so that a record that
is not known can be skipped. (p is in no document, but in Ceph's src/tools/rbd/action/Export.cc.)

The reader takes nothing on trust: every length and range is checked before it is used, and memory is
bounded whatever the stream claims.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cowshed.formats.streams import Readable, Source, Writable, write_all

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on

BANNERS = {1: b"rbd diff v1\n", 2: b"rbd diff v2\n"}
MAX_NAME = 4096
"""Bytes in a snapshot's name; what `rbd import-diff` takes at most."""
PIECE = 1 << 20
"""Bytes of data handed over at once: a record of data may be as long as the image."""
MAX_USELESS = 16 << 20
"""Bytes in one diff of records that are not known, and so skipped, and of records of no length."""
MAX_ROUNDS = 16
"""How often the records may go over the whole image. Honest ones do it once at most; without a bound, a
stream that never ends would be read for ever."""
_SLACK = 1 << 22
"""Bytes by which the records may exceed that, so that it does not bind where the image is small."""
_RECORDS = {1: b"ftswz", 2: b"ftspwz"}


@dataclass(frozen=True, slots=True)
class Header:
    from_snapshot: str | None
    to_snapshot: str | None
    size: int
    """Bytes in the image at the end."""
    protected: bool = False
    """Whether the end snapshot is protected; version 1 does not say."""


@dataclass(frozen=True, slots=True)
class Data:
    """A piece of data; a long record comes in several."""

    offset: int
    data: bytearray

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


@dataclass(frozen=True, slots=True)
class Zeros:
    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


class Reader:
    """Reads the header when made; `records` then reads up to the end record and not a byte beyond.

    Both raise FormatError for a stream that is no diff of those versions, is cut short or contradicts itself.
    """

    def __init__(self, stream: Readable | Source, *, versions: tuple[int, ...] = (1, 2)) -> None:
        self._source = stream if isinstance(stream, Source) else Source(stream)
        banner = bytes(self._source.take(len(BANNERS[1]), "the banner"))
        self.version = next((version for version in versions if BANNERS[version] == banner), 0)
        if not self.version:
            wanted = " or ".join(f"v{version}" for version in versions)
            raise self._source.error(f"is no rbd diff {wanted}: it begins with {banner!r}")
        self._tag = b""
        self._length = 0
        self._useless = 0
        self.header = self._read_header()

    @property
    def name(self) -> str:
        """How to call the stream in an error."""
        return self._source.name

    @property
    def consumed(self) -> int:
        """Bytes of the stream read so far."""
        return self._source.consumed

    def _next(self, what: str) -> None:
        """Read the tag of the next record that is known, and in version 2 its length."""
        while True:
            tag = bytes(self._source.take(1, what))
            self._tag = tag
            if tag == b"e":
                return
            if self.version == 1:
                if tag in _RECORDS[1]:
                    return
                raise self._source.error(f"has an unknown record {tag!r} at byte {self.consumed - 1}")
            (self._length,) = self._source.numbers("<Q", "a record's length")
            if tag in _RECORDS[2]:
                return
            self._pass_over(9 + self._length)
            self._source.skip(self._length, "an unknown record")

    def _pass_over(self, length: int) -> None:
        """Bear with a useless record of that many bytes, but not with any number of them."""
        self._useless += length
        if self._useless > MAX_USELESS:
            raise self._source.error(
                f"has a record {self._tag!r} of {length} bytes that is of no use, and more than {MAX_USELESS}"
                " bytes of such in all"
            )

    def _expect_length(self, length: int) -> None:
        """Hold the record to the length that stands behind its tag."""
        if self.version == 2 and self._length != length:
            raise self._source.error(
                f"has a record {self._tag.decode()!r} that is {length} bytes long, and says {self._length}"
            )

    def _read_header(self) -> Header:
        found: dict[bytes, str | int] = {}
        while True:
            self._next("the header")
            tag = self._tag
            if tag in (b"e", b"w", b"z"):
                break
            if tag in found:
                raise self._source.error(f"has two records {tag.decode()!r}")
            if tag == b"s":
                self._expect_length(8)
                (found[tag],) = self._source.numbers("<Q", "the size")
            elif tag == b"p":
                self._expect_length(1)
                (found[tag],) = self._source.numbers("<B", "the snapshot's protection")
            else:
                name = self._source.text("snapshot name", 1, MAX_NAME)
                self._expect_length(4 + len(name.encode()))
                found[tag] = name
        match found.get(b"f"), found.get(b"t"), found.get(b"s"):
            case (str() | None as start, str() | None as end, int(size)):
                return Header(start, end, size, bool(found.get(b"p")))
        raise self._source.error("does not say how large the image is")

    def records(self) -> Generator[Data | Zeros, None, None]:
        """What changed, in the order of the stream; later records win where they overlap."""
        size = self.header.size
        covered = 0
        while self._tag != b"e":
            if self._tag not in (b"w", b"z"):
                raise self._source.error(f"has a header record {self._tag.decode()!r} behind data")
            offset, length = self._source.numbers("<QQ", "a record")
            self._expect_length(16 + length if self._tag == b"w" else 16)
            if offset + length > size:
                raise self._source.error(
                    f"has a record at {offset} of {length} bytes, beyond its size {size}"
                )
            if not length:
                self._pass_over(17)
            covered += length
            if covered > MAX_ROUNDS * size + _SLACK:
                raise self._source.error(f"goes over its {size} bytes again and again")
            if self._tag == b"z":
                yield Zeros(offset, length)
            else:
                end = offset + length
                while offset < end:
                    data = self._source.take(min(PIECE, end - offset), "data")
                    yield Data(offset, data)
                    offset += len(data)
            self._next("the records: the end record is missing")

    def expect_end(self) -> None:
        """Raises FormatError if anything follows the end record."""
        self._source.expect_end("goes on behind its end record", hint="give one diff at a time")


class Writer:
    """Writes the header when made; `end` completes the diff. Raises NoSpace, Disconnected, IOFailure.

    Version 1 has no place for the protection of the end snapshot: it is left out.
    """

    def __init__(self, stream: Writable, header: Header, *, version: int = 1) -> None:
        self._stream = stream
        self._version = version
        parts = [BANNERS[version]]
        for tag, name in ((b"f", header.from_snapshot), (b"t", header.to_snapshot)):
            if name is not None:
                encoded = name.encode()
                parts += [self._head(tag, 4 + len(encoded)), struct.pack("<I", len(encoded)), encoded]
        if version == 2 and header.to_snapshot is not None:
            parts += [self._head(b"p", 1), struct.pack("<B", header.protected)]
        parts += [self._head(b"s", 8), struct.pack("<Q", header.size)]
        write_all(stream, b"".join(parts))

    def _head(self, tag: bytes, length: int) -> bytes:
        """What stands before a record's content."""
        return tag if self._version == 1 else struct.pack("<cQ", tag, length)

    def data(self, offset: int, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        write_all(self._stream, self._head(b"w", 16 + len(view)) + struct.pack("<QQ", offset, len(view)))
        write_all(self._stream, view)

    def zeros(self, offset: int, length: int) -> None:
        write_all(self._stream, self._head(b"z", 16) + struct.pack("<QQ", offset, length))

    def end(self) -> None:
        write_all(self._stream, b"e")
