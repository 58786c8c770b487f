"""Two diffs merged into one, against a naive model: a disk that diffs are applied to."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cowshed.errors import FormatError, InvalidArgument
from cowshed.formats.diff import PIECE, Data, Header, Reader, Writer, Zeros
from cowshed.formats.merge import merged, merged_header
from formats.mutations import mutations
from formats.test_diff_v2 import number, parsed, written

Records = list[Data | Zeros]


def merge(first: bytes, second: bytes) -> bytes:
    readers = [Reader(io.BytesIO(stream)) for stream in (first, second)]
    header = merged_header(*readers)
    records = list(merged(*readers))
    for reader in readers:
        reader.expect_end()
    return written(header, records, 1)


def applied(disk: bytes, stream: bytes) -> bytes:
    """What the disk holds after a diff, done as plainly as can be."""
    header, records = parsed(stream)
    after = bytearray(disk[: header.size].ljust(header.size, b"\0"))
    for piece in records:
        after[piece.offset : piece.end] = piece.data if isinstance(piece, Data) else bytes(piece.length)
    return bytes(after)


def test_golden_bytes() -> None:
    first = written(Header("1", "2", 10), [Data(0, bytearray(b"abcdef")), Zeros(8, 2)], 1)
    second = written(Header("2", "3", 12), [Data(2, bytearray(b"XY")), Data(9, bytearray(b"Z"))], 2)
    assert merge(first, second) == (
        b"rbd diff v1\n"
        b"f\x01\x00\x00\x001t\x01\x00\x00\x003s\x0c\x00\x00\x00\x00\x00\x00\x00"
        b"w" + number(0) + number(2) + b"ab"
        b"w" + number(2) + number(2) + b"XY"
        b"w" + number(4) + number(2) + b"ef"
        b"z" + number(8) + number(1) + b"w" + number(9) + number(1) + b"Z"
        b"z" + number(10) + number(2) + b"e"
    )


def test_what_a_smaller_first_image_cut_off_does_not_come_back() -> None:
    first, second = written(Header(None, "2", 3), []), written(Header("2", None, 8), [])
    assert applied(b"abcdefgh", merge(first, second)) == b"abc\0\0\0\0\0"


def test_a_smaller_second_image_cuts_the_first() -> None:
    first = written(Header(None, "2", 8), [Data(1, bytearray(b"ABCD")), Zeros(6, 2)])
    second = written(Header("2", None, 3), [])
    header, records = parsed(merge(first, second))
    assert (header.size, records) == (3, [Data(1, bytearray(b"AB"))])


@st.composite
def diffs(draw: st.DrawFn, start: str | None, end: str | None, *, for_rbd: bool = False) -> bytes:
    """A diff whose records ascend. `rbd merge-diff` takes neither version 2 nor records of no length."""
    size = draw(st.integers(0, 60))
    records: Records = []
    at = 0
    for gap, length, data in draw(
        st.lists(st.tuples(st.integers(0, 9), st.integers(int(for_rbd), 12), st.booleans()), max_size=8)
    ):
        offset = at + gap
        at = offset + length
        if at > size:
            break
        content = bytearray(draw(st.binary(min_size=length, max_size=length))) if data else None
        records.append(Zeros(offset, length) if content is None else Data(offset, content))
    return written(Header(start, end, size), records, draw(st.sampled_from([1] if for_rbd else [1, 2])))


@given(st.binary(max_size=60), diffs("1", "2"), diffs("2", "3"))
def test_merged_is_one_behind_the_other(disk: bytes, first: bytes, second: bytes) -> None:
    both = merge(first, second)
    assert applied(disk, both) == applied(applied(disk, first), second)
    header, records = parsed(both)
    assert header == Header("1", "3", parsed(second)[0].size)
    ends = [0, *(piece.end for piece in records)]
    assert all(end <= piece.offset < piece.end for end, piece in zip(ends, records, strict=False))


@given(st.binary(max_size=60), diffs(None, "2"), diffs("2", "3"), diffs("3", None))
def test_it_does_not_matter_which_two_are_merged_first(
    disk: bytes, first: bytes, second: bytes, third: bytes
) -> None:
    left, right = merge(merge(first, second), third), merge(first, merge(second, third))
    assert applied(disk, left) == applied(disk, right)


@pytest.mark.skipif(shutil.which("rbd") is None, reason="no rbd here (apt-get install ceph-common)")
@settings(max_examples=50, deadline=None)
@given(diffs("1", "2", for_rbd=True), diffs("2", None, for_rbd=True))
def test_rbd_writes_the_same_bytes(first: bytes, second: bytes) -> None:
    with tempfile.TemporaryDirectory() as room:
        paths = [Path(room, name) for name in ("first", "second", "both")]
        for path, diff in zip(paths, (first, second), strict=False):
            path.write_bytes(diff)
        # It needs no cluster for this, but looks for the configuration of one.
        subprocess.run(
            ["rbd", "merge-diff", *paths],
            check=True,
            capture_output=True,
            env={**os.environ, "CEPH_CONF": os.devnull},
        )
        assert paths[2].read_bytes() == merge(first, second)


def test_diffs_that_do_not_meet() -> None:
    first, second = written(Header("1", "2", 5), []), written(Header("3", None, 5), [])
    with pytest.raises(
        InvalidArgument, match="ends at snapshot '2', but the stream starts from snapshot '3'"
    ):
        merge(first, second)
    with pytest.raises(InvalidArgument, match="starts from no snapshot"):
        merge(first, written(Header(None, None, 5), []))


@pytest.mark.parametrize(
    "records",
    [[Zeros(5, 1), Zeros(0, 1)], [Zeros(0, 3), Data(2, bytearray(b"x"))], [Zeros(3, 1), Zeros(3, 1)]],
)
def test_records_out_of_order(records: Records) -> None:
    fine = written(Header(None, None, 9), [])
    bad = written(Header(None, None, 9), records)
    for first, second in ((bad, fine), (fine, bad)):
        with pytest.raises(FormatError, match=r"has a record at \d behind one that ends at \d"):
            merge(first, second)


def test_damage_behind_the_cut_is_noticed() -> None:
    first = written(Header(None, None, 9), [Zeros(0, 1), Zeros(5, 4)])
    second = written(Header(None, None, 2), [])
    merge(first, second)
    for length in range(len(first)):
        with pytest.raises(FormatError):
            merge(first[:length], second)
    for length in range(len(second)):
        with pytest.raises(FormatError):
            merge(first, second[:length])


def test_mutations_are_merged_or_refused() -> None:
    first = written(Header("1", "2", 40), [Data(3, bytearray(b"abcdefgh")), Zeros(20, 9)], 2)
    second = written(Header("2", "3", 30), [Zeros(1, 4), Data(9, bytearray(b"xyz")), Zeros(25, 2)], 1)
    for damaged in mutations(first, 1000, b"ftspwze"):
        check_merge(damaged, second)
    for damaged in mutations(second, 1000, b"ftswze"):
        check_merge(first, damaged)


def check_merge(first: bytes, second: bytes) -> None:
    """Either both are fine and merged rightly, or it is said that they are not."""
    try:
        both = merge(first, second)
    except (FormatError, InvalidArgument):
        return
    if max(parsed(stream)[0].size for stream in (first, second)) < 1 << 20:
        disk = bytes(range(50))
        assert applied(disk, both) == applied(applied(disk, first), second)


class Repeated(io.RawIOBase):
    """A diff of one long record of data, made while it is read."""

    def __init__(self, length: int, step: int) -> None:
        self._parts = self._make(length, step)
        self._left = b""

    def _make(self, length: int, step: int) -> Iterator[bytes]:
        out = io.BytesIO()
        Writer(out, Header(None, None, length))
        yield out.getvalue()
        for offset in range(0, length, step):
            yield b"w" + number(offset) + number(step) + bytes(step)
        yield b"e"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._left = self._left or next(self._parts, b"")
        taken, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)


def test_long_diffs_take_little_memory() -> None:
    length = 64 * PIECE
    readers = [Reader(Repeated(length, step)) for step in (length // 8, length // 64)]
    tracemalloc.start()
    try:
        total = 0
        for piece in merged(*readers):
            total += piece.end - piece.offset
        assert total == length
        assert tracemalloc.get_traced_memory()[1] < 24 * PIECE
    finally:
        tracemalloc.stop()
