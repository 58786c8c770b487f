"""The rbd diff format, version 2."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowshed.errors import FormatError
from cowshed.formats import diff
from cowshed.formats.diff import BANNERS, PIECE, Data, Header, Reader, Writer, Zeros
from formats.mutations import Endless, mutations

BANNER = BANNERS[2]


def number(value: int) -> bytes:
    return value.to_bytes(8, "little")


def record(tag: bytes, content: bytes, length: int | None = None) -> bytes:
    """A record as version 2 has it; `length` is what it claims to be."""
    return tag + number(len(content) if length is None else length) + content


GOLDEN = (
    b"rbd diff v2\n"
    b"f\x09\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00snap1"
    b"t\x09\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00snap2"
    b"p\x01\x00\x00\x00\x00\x00\x00\x00\x01"
    b"s\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00"
    b"w\x14\x00\x00\x00\x00\x00\x00\x00"
    b"\x00\x10\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00data"
    b"z\x10\x00\x00\x00\x00\x00\x00\x00"
    b"\x00\x00\x08\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00"
    b"e"
)
HEAD = BANNER + record(b"s", number(1 << 20))


def written(header: Header, records: list[Data | Zeros], version: int = 2) -> bytes:
    out = io.BytesIO()
    writer = Writer(out, header, version=version)
    for piece in records:
        if isinstance(piece, Data):
            writer.data(piece.offset, piece.data)
        else:
            writer.zeros(piece.offset, piece.length)
    writer.end()
    return out.getvalue()


def parsed(stream: bytes | io.RawIOBase) -> tuple[Header, list[Data | Zeros]]:
    source = io.BytesIO(stream) if isinstance(stream, bytes) else stream
    reader = Reader(source)
    records = list(reader.records())
    reader.expect_end()
    if isinstance(stream, bytes):
        assert reader.consumed == len(stream)
    return reader.header, records


def test_golden_bytes() -> None:
    header = Header("snap1", "snap2", 1 << 20, protected=True)
    records: list[Data | Zeros] = [Data(4096, bytearray(b"data")), Zeros(512 << 10, 4096)]
    assert written(header, records) == GOLDEN
    assert parsed(GOLDEN) == (header, records)


def test_the_least_diff() -> None:
    assert parsed(BANNER + record(b"s", number(0)) + b"e") == (Header(None, None, 0), [])


def test_the_banner_decides() -> None:
    header = Header("a", "b", 1 << 20)
    records: list[Data | Zeros] = [Data(0, bytearray(b"x")), Zeros(1, 1)]
    for version in (1, 2):
        stream = written(header, records, version)
        assert parsed(stream) == (header, records)
        assert Reader(io.BytesIO(stream)).version == version
        with pytest.raises(FormatError, match=f"is no rbd diff v{3 - version}: "):
            Reader(io.BytesIO(stream), versions=(3 - version,))


names = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
sizes = st.integers(0, 1 << 16)


@given(names, names, st.booleans(), sizes, st.lists(st.tuples(sizes, st.binary(max_size=300) | sizes)))
def test_there_and_back(
    start: str | None, end: str | None, protected: bool, size: int, pieces: list[tuple[int, bytes | int]]
) -> None:
    records: list[Data | Zeros] = [
        Data(offset, bytearray(what)) if isinstance(what, bytes) else Zeros(offset, what)
        for offset, what in pieces
        if offset + (len(what) if isinstance(what, bytes) else what) <= size
    ]
    header = Header(start, end, size, protected=protected and end is not None)
    got_header, got = parsed(written(header, records))
    assert got_header == header
    assert got == [piece for piece in records if not (isinstance(piece, Data) and not piece.data)]


def test_header_records_come_in_any_order() -> None:
    name = b"\x01\0\0\0b"
    stream = BANNER + record(b"s", number(5)) + record(b"p", b"\x07") + record(b"t", name) + b"e"
    assert parsed(stream)[0] == Header(None, "b", 5, protected=True)


def test_unknown_records_are_skipped() -> None:
    unknown = record(b"?", b"x" * 100_000)
    zeros = record(b"z", number(0) + number(9))
    stream = BANNER + unknown + record(b"s", number(9)) + unknown + zeros + unknown + zeros + unknown + b"e"
    assert parsed(stream) == (Header(None, None, 9), [Zeros(0, 9), Zeros(0, 9)])


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (b"rbd diff v2", "ends within the banner"),
        (BANNER, "ends within the header"),
        (BANNER + b"e", "does not say how large"),
        (BANNER + b"w" + number(16), "does not say how large"),
        (BANNER + b"s\0", "ends within a record's length"),
        (BANNER + record(b"s", b"\0\0", 8), "ends within the size"),
        (BANNER + record(b"s", number(0), 7), "record 's' that is 8 bytes long, and says 7"),
        (BANNER + record(b"p", b"\1", 2), "record 'p' that is 1 bytes long, and says 2"),
        (BANNER + record(b"f", b"\x01\0\0\0a", 4), "record 'f' that is 5 bytes long, and says 4"),
        (BANNER + record(b"f", b"\x00\0\0\0"), "a snapshot name of 0 bytes"),
        (BANNER + record(b"f", b"\xff\xff\xff\xff"), "a snapshot name of 4294967295 bytes"),
        (BANNER + record(b"t", b"\x02\0\0\0\xff\xfe"), "not UTF-8"),
        (HEAD + record(b"s", number(1)), "two records 's'"),
        (HEAD + record(b"p", b"\0") * 2, "two records 'p'"),
        (HEAD + record(b"z", number(0), 16), "ends within a record"),
        (HEAD + record(b"z", number(0) + number(1), 17), "record 'z' that is 16 bytes long, and says 17"),
        (HEAD + record(b"w", number(0) + number(5) + b"a", 17), "'w' that is 21 bytes long, and says 17"),
        (HEAD + record(b"w", number(0) + number(5) + b"a", 21), "ends within data"),
        (HEAD + record(b"z", number(0) + number(1)), "the end record is missing"),
        (HEAD + record(b"z", number(1 << 20) + number(1)), "beyond its size"),
        (HEAD + record(b"z", number((1 << 64) - 1) + number(2)), "beyond its size"),
        (HEAD + record(b"z", number(0) * 2) + record(b"t", b"\x01\0\0\0a"), "header record 't' behind data"),
        (HEAD + record(b"?", b"", 1 << 60), "a record b'\\?' of 1152921504606846985 bytes that is of no use"),
        (HEAD + record(b"?", b"abc", 4), "ends within an unknown record"),
        (HEAD + b"ee", "goes on behind its end"),
    ],
)
def test_what_is_no_diff(stream: bytes, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        parsed(stream)


@pytest.mark.parametrize(
    "again",
    [
        record(b"?", b""),
        record(b"?", bytes(5000)),
        record(b"z", number(0) * 2),
        record(b"z", number(0) + number(1 << 20)),
        record(b"w", number(3) + number(1 << 18) + bytes(1 << 18)),
        bytes(1),
    ],
)
@pytest.mark.parametrize("head", [BANNER, HEAD])
def test_an_endless_stream_is_refused(monkeypatch: pytest.MonkeyPatch, head: bytes, again: bytes) -> None:
    monkeypatch.setattr(diff, "MAX_USELESS", 1 << 18)
    monkeypatch.setattr(diff, "_SLACK", 0)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            read_through(Endless(head, again))
        assert tracemalloc.get_traced_memory()[1] < 4 * PIECE
    finally:
        tracemalloc.stop()


def read_through(stream: io.RawIOBase) -> None:
    """Take all records one at a time, as importers do."""
    for _ in Reader(stream).records():
        pass


def test_an_image_may_be_covered_more_than_once() -> None:
    zeros = record(b"z", number(0) + number(1 << 20))
    assert len(parsed(HEAD + zeros * 16 + b"e")[1]) == 16


def test_a_claim_costs_no_memory() -> None:
    huge = BANNER + record(b"s", number(1 << 62))
    huge += record(b"w", number(0) + number(1 << 60) + b"x" * 100, 16 + (1 << 60))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="ends within data"):
            parsed(huge)
        assert tracemalloc.get_traced_memory()[1] < 4 * PIECE
    finally:
        tracemalloc.stop()


def test_every_cut_is_noticed() -> None:
    for length in range(len(GOLDEN)):
        with pytest.raises(FormatError):
            parsed(GOLDEN[:length])


def test_mutations_are_parsed_or_refused() -> None:
    for stream in mutations(GOLDEN, 3000, b"ftspwze"):
        try:
            header, records = parsed(stream)
        except FormatError:
            continue
        assert all(piece.end <= header.size for piece in records)
        assert parsed(written(header, records)) == (header, records) or header.to_snapshot is None


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(stream: bytes) -> None:
    for prefix in (BANNER, HEAD):
        try:
            parsed(prefix + stream)
        except FormatError:
            continue
