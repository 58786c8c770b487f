"""The rbd diff format, version 1."""

from __future__ import annotations

import io
import os
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowshed.errors import FormatError, NoSpace
from cowshed.formats.diff import BANNERS, PIECE, Data, Header, Reader, Writer, Zeros

GOLDEN = (
    b"rbd diff v1\n"
    b"f\x05\x00\x00\x00snap1"
    b"t\x05\x00\x00\x00snap2"
    b"s\x00\x00\x10\x00\x00\x00\x00\x00"
    b"w\x00\x10\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00data"
    b"z\x00\x00\x08\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00"
    b"e"
)
BANNER = BANNERS[1]
HEAD = BANNER + b"s" + (1 << 20).to_bytes(8, "little")


def written(header: Header, records: list[Data | Zeros]) -> bytes:
    out = io.BytesIO()
    writer = Writer(out, header)
    for record in records:
        if isinstance(record, Data):
            writer.data(record.offset, record.data)
        else:
            writer.zeros(record.offset, record.length)
    writer.end()
    return out.getvalue()


def parsed(stream: bytes) -> tuple[Header, list[Data | Zeros]]:
    reader = Reader(io.BytesIO(stream))
    records = list(reader.records())
    reader.expect_end()
    assert reader.consumed == len(stream)
    return reader.header, records


def numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


def test_golden_bytes() -> None:
    header = Header("snap1", "snap2", 1 << 20)
    records: list[Data | Zeros] = [Data(4096, bytearray(b"data")), Zeros(512 << 10, 4096)]
    assert written(header, records) == GOLDEN
    assert parsed(GOLDEN) == (header, records)


def test_the_least_diff() -> None:
    assert parsed(BANNER + b"s" + numbers(0) + b"e") == (Header(None, None, 0), [])


names = st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
sizes = st.integers(0, 1 << 16)


@given(names, names, sizes, st.lists(st.tuples(sizes, st.binary(max_size=300) | sizes)))
def test_there_and_back(
    start: str | None, end: str | None, size: int, pieces: list[tuple[int, bytes | int]]
) -> None:
    records: list[Data | Zeros] = [
        Data(offset, bytearray(what)) if isinstance(what, bytes) else Zeros(offset, what)
        for offset, what in pieces
        if offset + (len(what) if isinstance(what, bytes) else what) <= size
    ]
    header = Header(start, end, size)
    got_header, got = parsed(written(header, records))
    assert got_header == header
    assert got == [record for record in records if not (isinstance(record, Data) and not record.data)]


def test_header_records_come_in_any_order() -> None:
    stream = BANNER + b"s" + numbers(5) + b"t\x01\0\0\0b" + b"f\x01\0\0\0a" + b"e"
    assert parsed(stream)[0] == Header("a", "b", 5)


def test_long_records_come_in_pieces() -> None:
    data = random.Random(1).randbytes(3 * PIECE + 5)
    records = parsed(written(Header(None, None, 10 * PIECE), [Data(7, bytearray(data))]))[1]
    assert [r.offset for r in records] == [7, 7 + PIECE, 7 + 2 * PIECE, 7 + 3 * PIECE]
    assert b"".join(r.data for r in records if isinstance(r, Data)) == data


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        (b"", "ends within the banner"),
        (b"rbd diff v1", "ends within the banner"),
        (b"rbd diff v3\n" + b"e", "is no rbd diff v1 or v2"),
        (b"QFI\xfb" + bytes(100), "is no rbd diff v1 or v2"),
        (BANNER, "ends within the header"),
        (BANNER + b"e", "does not say how large"),
        (BANNER + b"w", "does not say how large"),
        (BANNER + b"x", "unknown record b'x'"),
        (BANNER + b"s\0\0", "ends within the size"),
        (HEAD + b"s" + numbers(1), "two records 's'"),
        (HEAD + b"t\x01\0\0\0a" * 2, "two records 't'"),
        (HEAD + b"f\x01\0\0\0a" * 2, "two records 'f'"),
        (HEAD + b"f\x00\0\0\0", "a snapshot name of 0 bytes"),
        (HEAD + b"f\xff\xff\xff\xff", "a snapshot name of 4294967295 bytes"),
        (HEAD + b"f\x02\0\0\0\xff\xfe", "not UTF-8"),
        (HEAD, "ends within the header"),
        (HEAD + b"z" + numbers(0), "ends within a record"),
        (HEAD + b"z" + numbers(0, 1), "the end record is missing"),
        (HEAD + b"z" + numbers(1 << 20, 1), "beyond its size"),
        (HEAD + b"z" + numbers((1 << 64) - 1, 2), "beyond its size"),
        (HEAD + b"w" + numbers(0, (1 << 20) + 1), "beyond its size"),
        (HEAD + b"w" + numbers(0, 10) + b"short", "ends within data"),
        (HEAD + b"z" + numbers(0, 1) + b"s" + numbers(5), "header record 's' behind data"),
        (HEAD + b"z" + numbers(0, 1) + b"?", "unknown record b'?'"),
        (HEAD + b"ee", "goes on behind its end"),
    ],
)
def test_what_is_no_diff(stream: bytes, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint.replace("?", r"\?")):
        parsed(stream)


def test_a_claim_costs_no_memory() -> None:
    huge = BANNER + b"s" + numbers(1 << 62) + b"w" + numbers(0, 1 << 60) + b"x" * 100
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            parsed(huge)
        assert tracemalloc.get_traced_memory()[1] < 4 * PIECE
    finally:
        tracemalloc.stop()


def test_every_cut_is_noticed() -> None:
    for length in range(len(GOLDEN)):
        with pytest.raises(FormatError):
            parsed(GOLDEN[:length])


def test_mutations_are_parsed_or_refused() -> None:
    seed = int(os.environ.get("COWSHED_SEED") or random.randrange(1 << 32))
    print(f"COWSHED_SEED={seed}")
    rng = random.Random(seed)
    for _ in range(3000):
        stream = bytearray(GOLDEN)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(stream))
            match rng.randrange(4):
                case 0:
                    stream[at] ^= 1 << rng.randrange(8)
                case 1:
                    stream[at] = rng.choice(b"ftswze\x00\xff")
                case 2:
                    del stream[at : at + rng.randrange(1, 9)]
                case _:
                    stream[at:at] = rng.randbytes(rng.randrange(1, 9))
            if not stream:
                break
        try:
            header, records = parsed(bytes(stream))
        except FormatError:
            continue
        for record in records:
            length = len(record.data) if isinstance(record, Data) else record.length
            assert record.offset + length <= header.size


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(stream: bytes) -> None:
    for prefix in (b"", BANNER, HEAD):
        try:
            parsed(prefix + stream)
        except FormatError:
            continue


def test_short_reads_are_fine() -> None:
    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self.left = GOLDEN

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            taken, self.left = self.left[:1], self.left[1:]
            buffer[: len(taken)] = taken
            return len(taken)

    reader = Reader(Slow())  # type: ignore[arg-type]
    assert len(list(reader.records())) == 2


def test_a_full_disk_has_a_name() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(NoSpace, match="/dev/full"):  # noqa: PTH123
        Writer(full, Header(None, None, 0))
