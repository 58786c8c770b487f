"""rbd's export format 2 (Ceph's doc/dev/rbd-export.rst): an image with all its snapshots in one stream.

    "rbd image v2\\n"
    O  le64 8, le64             log2 of the object size     }
    T  le64 8, le64             feature bits                } in any order,
    U  le64 8, le64             stripe unit, in bytes       } each may be missing
    C  le64 8, le64             stripe count                }
    M  le64 length, le32 length, key, le32 length, value    any number of them
    E
    "rbd image diffs v2\\n"
    le64                        how many diffs follow
    rbd diffs v2                from nothing to the first snapshot, from that to the next … to the image

M, the second banner and the order of the diffs are in no document, but in Ceph's src/tools/rbd: Utils.h and
action/Export.cc. Records that are not known are skipped. As with diffs, nothing is taken on trust.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass, field

from cowshed.errors import InvalidArgument
from cowshed.formats import diff
from cowshed.formats.streams import Readable, Source, Writable, write_all

BANNER = b"rbd image v2\n"
DIFFS_BANNER = b"rbd image diffs v2\n"
MAX_METADATA = 4 << 20
"""Bytes of all metadata records together. Ceph's own bound for one value is less."""
MAX_UNKNOWN = 16 << 20
"""Bytes that may be skipped in the header, in records that are not known."""
MAX_DIFFS = 1 << 20
"""Diffs in one stream, and so snapshots of one image. Each takes only the bytes that it has."""
_NUMBERS = {b"O": "order", b"T": "features", b"U": "stripe_unit", b"C": "stripe_count"}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What the stream says of the image as a whole; None where it does not."""

    order: int | None = None
    """log2 of the object size."""
    features: int | None = None
    """librbd's feature bits."""
    stripe_unit: int | None = None
    stripe_count: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)


class Reader:
    """Reads the image's header and the count of diffs when made; `diffs` then reads these in turn.

    All raise FormatError for a stream that is no such export, is cut short or contradicts itself.
    """

    def __init__(self, stream: Readable) -> None:
        self._source = Source(stream)
        self._expect_banner(BANNER, "is no rbd export of format 2")
        self.header = self._read_header()
        self._expect_banner(DIFFS_BANNER, "has no diffs behind its header")
        (self.count,) = self._source.numbers("<Q", "the number of diffs")
        if not 0 < self.count <= MAX_DIFFS:
            raise self._source.error(f"says that it holds {self.count} diffs: 1 to {MAX_DIFFS} are possible")

    @property
    def name(self) -> str:
        """How to call the stream in an error."""
        return self._source.name

    @property
    def consumed(self) -> int:
        """Bytes of the stream read so far."""
        return self._source.consumed

    def _expect_banner(self, banner: bytes, complaint: str) -> None:
        found = bytes(self._source.take(len(banner), "a banner"))
        if found != banner:
            raise self._source.error(f"{complaint}: {found!r} stands where {banner!r} should")

    def _read_header(self) -> ImageHeader:
        numbers: dict[str, int] = {}
        metadata: dict[str, str] = {}
        told = skipped = 0
        while (tag := bytes(self._source.take(1, "the header"))) != b"E":
            (length,) = self._source.numbers("<Q", "a record's length")
            if tag in _NUMBERS:
                name = _NUMBERS[tag]
                if name in numbers:
                    raise self._source.error(f"has two records {tag.decode()!r}")
                self._expect_length(tag, length, 8)
                (numbers[name],) = self._source.numbers("<Q", "the header")
            elif tag == b"M":
                told += 9 + length
                if told > MAX_METADATA:
                    raise self._source.error(f"has more than {MAX_METADATA} bytes of metadata")
                key = self._source.text("metadata key", 1, length)
                metadata[key] = value = self._source.text("metadata value", 0, length)
                self._expect_length(tag, length, 8 + len(key.encode()) + len(value.encode()))
            else:
                skipped += 9 + length
                if skipped > MAX_UNKNOWN:
                    raise self._source.error(
                        f"has an unknown record {tag!r} of {length} bytes in its header, and more than"
                        f" {MAX_UNKNOWN} bytes of such in all"
                    )
                self._source.skip(length, "an unknown record")
        return ImageHeader(**numbers, metadata=metadata)

    def _expect_length(self, tag: bytes, said: int, length: int) -> None:
        if said != length:
            raise self._source.error(
                f"has a record {tag.decode()!r} that is {length} bytes long, and says {said}"
            )

    def diffs(self) -> Generator[diff.Reader, None, None]:
        """The diffs' readers, oldest first; all records of one are to be taken before the next is asked for.

        Each starts where the one before it ends. Names are not compared: that none comes twice is the
        caller's to see to.
        """
        before: str | None = None
        for index in range(self.count):
            reader = diff.Reader(self._source, versions=(2,))
            header = reader.header
            if index and before is None:
                raise self._source.error("has a diff behind that of the image itself")
            if header.from_snapshot != before:
                raise self._source.error(
                    f"has a diff that starts from {_called(header.from_snapshot)}, behind one that ends at"
                    f" {_called(before)}"
                )
            yield reader
            before = header.to_snapshot

    def expect_end(self) -> None:
        """Raises FormatError if anything follows the last diff."""
        self._source.expect_end(
            f"goes on behind its {self.count} diffs", hint="it is damaged, or more than one image"
        )


def _called(snapshot: str | None) -> str:
    return "nothing" if snapshot is None else f"snapshot {snapshot!r}"


class Writer:
    """Writes the image's header when made; `diff` begins each of the `count` diffs.

    Raises NoSpace, Disconnected, IOFailure; InvalidArgument for more diffs than a stream may hold.
    """

    def __init__(self, stream: Writable, header: ImageHeader, count: int) -> None:
        if not 0 < count <= MAX_DIFFS:
            raise InvalidArgument(f"an export holds 1 to {MAX_DIFFS} diffs, not {count}")
        self._stream = stream
        parts = [BANNER]
        for tag, name in _NUMBERS.items():
            number = getattr(header, name)
            if number is not None:
                parts.append(struct.pack("<cQQ", tag, 8, number))
        told = 0
        for key, value in header.metadata.items():
            encoded = [text.encode() for text in (key, value)]
            length = sum(4 + len(text) for text in encoded)
            told += 9 + length
            parts.append(struct.pack("<cQ", b"M", length))
            for text in encoded:
                parts += [struct.pack("<I", len(text)), text]
        if told > MAX_METADATA:
            raise InvalidArgument(f"an export holds at most {MAX_METADATA} bytes of metadata, not {told}")
        parts += [b"E", DIFFS_BANNER, struct.pack("<Q", count)]
        write_all(stream, b"".join(parts))

    def diff(self, header: diff.Header) -> diff.Writer:
        """The writer of the next diff; it is to be ended before the one behind it is begun."""
        return diff.Writer(self._stream, header, version=2)
