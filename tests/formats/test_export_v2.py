"""rbd's export format 2."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowshed.errors import FormatError, InvalidArgument
from cowshed.formats import export_v2
from cowshed.formats.diff import Data, Header, Zeros
from cowshed.formats.export_v2 import BANNER, DIFFS_BANNER, ImageHeader, Reader, Writer
from formats.mutations import Endless, mutations
from formats.test_diff_v2 import number, record
from formats.test_diff_v2 import written as diff_bytes

MIB = 1 << 20

Diff = tuple[Header, list[Data | Zeros]]

GOLDEN = (
    b"rbd image v2\n"
    b"O\x08\x00\x00\x00\x00\x00\x00\x00\x16\x00\x00\x00\x00\x00\x00\x00"
    b"T\x08\x00\x00\x00\x00\x00\x00\x00\x3d\x00\x00\x00\x00\x00\x00\x00"
    b"U\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00"
    b"C\x08\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00"
    b"M\x0e\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00os\x04\x00\x00\x00\xf0\x9f\x90\xae"
    b"E"
    b"rbd image diffs v2\n"
    b"\x02\x00\x00\x00\x00\x00\x00\x00"
    b"rbd diff v2\n"
    b"t\x05\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00a"
    b"p\x01\x00\x00\x00\x00\x00\x00\x00\x01"
    b"s\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00"
    b"w\x14\x00\x00\x00\x00\x00\x00\x00"
    b"\x00\x10\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00data"
    b"e"
    b"rbd diff v2\n"
    b"f\x05\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00a"
    b"s\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00\x00\x00"
    b"z\x10\x00\x00\x00\x00\x00\x00\x00"
    b"\x00\x10\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00"
    b"e"
)
GOLDEN_HEADER = ImageHeader(22, 61, 4 * MIB, 1, {"os": "🐮"})
GOLDEN_DIFFS: list[Diff] = [
    (Header(None, "a", MIB, protected=True), [Data(4096, bytearray(b"data"))]),
    (Header("a", None, 2 * MIB), [Zeros(4096, 4096)]),
]


def written(header: ImageHeader, diffs: list[Diff]) -> bytes:
    out = io.BytesIO()
    writer = Writer(out, header, len(diffs))
    for diff_header, records in diffs:
        one = writer.diff(diff_header)
        for piece in records:
            if isinstance(piece, Data):
                one.data(piece.offset, piece.data)
            else:
                one.zeros(piece.offset, piece.length)
        one.end()
    return out.getvalue()


def parsed(stream: bytes) -> tuple[ImageHeader, list[Diff]]:
    reader = Reader(io.BytesIO(stream))
    diffs = [(one.header, list(one.records())) for one in reader.diffs()]
    reader.expect_end()
    assert reader.consumed == len(stream)
    assert reader.count == len(diffs)
    return reader.header, diffs


def test_golden_bytes() -> None:
    assert written(GOLDEN_HEADER, GOLDEN_DIFFS) == GOLDEN
    assert parsed(GOLDEN) == (GOLDEN_HEADER, GOLDEN_DIFFS)


LAST = diff_bytes(Header(None, None, 5), [])
TAIL = DIFFS_BANNER + number(1) + LAST


def test_what_the_header_may_leave_out() -> None:
    assert parsed(BANNER + b"E" + TAIL)[0] == ImageHeader()


def test_unknown_header_records_are_skipped() -> None:
    unknown = record(b"F", number(2)) + record(b"\xff", bytes(100_000))
    assert parsed(BANNER + unknown + record(b"O", number(20)) + unknown + b"E" + TAIL)[0].order == 20


def test_no_diff_of_the_image_itself() -> None:
    """rbd never writes this, but reads it: the image is as its last snapshot."""
    stream = written(ImageHeader(), [(Header(None, "a", 5), [])])
    assert parsed(stream)[1] == [(Header(None, "a", 5), [])]


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
numbers = st.none() | st.integers(0, (1 << 64) - 1)
pairs = st.dictionaries(names, st.text(st.characters(exclude_categories=["Cs"]), max_size=50), max_size=5)


@given(numbers, numbers, numbers, numbers, pairs, st.lists(st.tuples(names, st.booleans()), max_size=5))
def test_there_and_back(
    order: int | None,
    features: int | None,
    unit: int | None,
    count: int | None,
    metadata: dict[str, str],
    snapshots: list[tuple[str, bool]],
) -> None:
    header = ImageHeader(order, features, unit, count, metadata)
    diffs: list[Diff] = []
    before = None
    for i, (name, protected) in enumerate(snapshots):
        diffs.append((Header(before, name, 10 + i, protected=protected), [Zeros(i, 3)]))
        before = name
    diffs.append((Header(before, None, 7), [Data(1, bytearray(b"end"))]))
    assert parsed(written(header, diffs)) == (header, diffs)


def pair(key: bytes, value: bytes) -> bytes:
    return len(key).to_bytes(4, "little") + key + len(value).to_bytes(4, "little") + value


SNAP = diff_bytes(Header(None, "a", 5), [])
HEAD = BANNER + b"E" + DIFFS_BANNER


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (b"", "ends within a banner"),
        (b"rbd image v1\n", "is no rbd export of format 2"),
        (b"rbd diff v2\nx", "is no rbd export of format 2"),
        (BANNER, "ends within the header"),
        (BANNER + record(b"O", b"\0", 8), "ends within the header"),
        (BANNER + record(b"O", number(22), 9), "record 'O' that is 8 bytes long, and says 9"),
        (BANNER + record(b"T", number(1)) * 2, "two records 'T'"),
        (BANNER + record(b"M", pair(b"", b"x")), "a metadata key of 0 bytes"),
        (BANNER + record(b"M", b"\xff\xff\xff\xff"), "a metadata key of 4294967295 bytes"),
        (BANNER + record(b"M", pair(b"\xff", b"x")), "a metadata key that is not UTF-8"),
        (BANNER + record(b"M", pair(b"a", b"\xff")), "a metadata value that is not UTF-8"),
        (BANNER + record(b"M", pair(b"a", b"bc"), 99), "record 'M' that is 11 bytes long, and says 99"),
        (BANNER + record(b"M", pair(b"a", b"bc"), 1 << 40), "more than 4194304 bytes of metadata"),
        (BANNER + record(b"?", b"", 1 << 62), "an unknown record b'\\?' of 4611686018427387904 bytes"),
        (BANNER + b"E", "ends within a banner"),
        (BANNER + b"E" + DIFFS_BANNER.replace(b"v2", b"v9"), "has no diffs behind its header"),
        (HEAD + b"\1", "ends within the number of diffs"),
        (HEAD + number(0), "says that it holds 0 diffs"),
        (HEAD + number(1 << 63), "says that it holds 9223372036854775808 diffs"),
        (HEAD + number(1), "ends within the banner"),
        (HEAD + number(2) + LAST, "ends within the banner"),
        (HEAD + number(1) + LAST + LAST, "goes on behind its 1 diffs"),
        (HEAD + number(1) + diff_bytes(Header(None, None, 5), [], 1), "is no rbd diff v2"),
        (HEAD + number(1) + diff_bytes(Header("a", None, 5), []), "starts from snapshot 'a', behind one"),
        (HEAD + number(2) + LAST + LAST, "a diff behind that of the image itself"),
        (HEAD + number(2) + SNAP + LAST, "starts from nothing, behind one that ends at snapshot 'a'"),
    ],
)
def test_what_is_no_export(stream: bytes, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        parsed(stream)


@pytest.mark.parametrize("again", [record(b"M", pair(b"a", b"")), record(b"?", b""), b"\0"])
def test_an_endless_header_is_refused(monkeypatch: pytest.MonkeyPatch, again: bytes) -> None:
    for limit in ("MAX_UNKNOWN", "MAX_METADATA"):
        monkeypatch.setattr(export_v2, limit, 1 << 18)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            Reader(Endless(BANNER, again))
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_the_most_metadata_costs_bounded_memory() -> None:
    stream = io.BytesIO()
    stream.write(BANNER)
    for i in range(export_v2.MAX_METADATA // 20):
        stream.write(record(b"M", pair(i.to_bytes(3, "big").hex().encode(), b"")))
    stream.write(b"E" + TAIL)
    stream.seek(0)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="bytes of metadata"):
            Reader(stream)
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()


def test_every_cut_is_noticed() -> None:
    for length in range(len(GOLDEN)):
        with pytest.raises(FormatError):
            parsed(GOLDEN[:length])


def test_mutations_are_parsed_or_refused() -> None:
    for stream in mutations(GOLDEN, 3000, b"OTUCMEftspwze"):
        try:
            header, diffs = parsed(stream)
        except FormatError:
            continue
        before = None
        for diff_header, records in diffs:
            assert diff_header.from_snapshot == before
            before = diff_header.to_snapshot
            assert all(piece.end <= diff_header.size for piece in records)
        assert parsed(written(header, diffs))[0] == header


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(stream: bytes) -> None:
    for prefix in (b"", BANNER, HEAD, HEAD + number(2) + SNAP):
        try:
            parsed(prefix + stream)
        except FormatError:
            continue


def test_what_no_export_can_hold() -> None:
    for count in (0, export_v2.MAX_DIFFS + 1):
        with pytest.raises(InvalidArgument):
            Writer(io.BytesIO(), ImageHeader(), count)
    with pytest.raises(InvalidArgument, match="metadata"):
        Writer(io.BytesIO(), ImageHeader(metadata={"a": "x" * (5 * MIB)}), 1)
