"""Raw images: what is read and written, byte for byte and hole for hole."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from cowshed.errors import FormatError, NoSpace
from cowshed.formats.raw import RawSink, RawSource
from cowshed.formats.source import PIECE

RING = 4


def rebuilt(source: RawSource) -> bytes:
    """All pieces in their places; checks that they ascend and that the ring is kept."""
    whole = bytearray(source.size or 0)
    end = 0
    for offset, data in source.pieces(RING):
        assert offset >= end
        assert 0 < len(data) <= PIECE
        end = offset + len(data)
        if len(whole) < end:
            whole.extend(bytes(end - len(whole)))
        whole[offset:end] = data
    return bytes(whole)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 77])
def test_files_and_memory(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "f").write_bytes(data)
    with (tmp_path / "f").open("rb") as file:
        assert rebuilt(RawSource(file)) == data
    assert rebuilt(RawSource(io.BytesIO(data))) == data


def test_only_data_is_read(tmp_path: Path) -> None:
    with (tmp_path / "f").open("wb") as file:
        for at in (3 << 20, 40 << 20):
            file.seek(at)
            file.write(b"x" * 10000)
        file.truncate(1 << 30)
    with (tmp_path / "f").open("rb") as file:
        source = RawSource(file)
        assert source.size == 1 << 30
        read = [(offset, len(data)) for offset, data in source.pieces(RING)]
    assert sum(length for _, length in read) < 1 << 20
    for at in (3 << 20, 40 << 20):
        assert any(offset <= at and at + 10000 <= offset + length for offset, length in read)


def test_a_file_that_shrinks(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * (3 * PIECE))
    with (tmp_path / "f").open("r+b") as file:
        pieces = RawSource(file).pieces(RING)
        next(pieces)
        file.truncate(PIECE)
        with pytest.raises(FormatError, match="became shorter"):
            list(pieces)


def sunk(sink: RawSink, pieces: list[tuple[int, bytes]]) -> None:
    for offset, data in pieces:
        sink.write(offset, memoryview(data))
    sink.finish()


@pytest.mark.parametrize("pieces", [[], [(0, b"a")], [(5, b"abc"), (3 * PIECE, b"d" * 10)], [(99, b"z")]])
def test_sinks_agree(tmp_path: Path, pieces: list[tuple[int, bytes]]) -> None:
    size = max([100, *(offset + len(data) for offset, data in pieces)])
    expected = bytearray(size)
    for offset, data in pieces:
        expected[offset : offset + len(data)] = data
    memory = io.BytesIO()
    sunk(RawSink(memory, size), pieces)
    assert memory.getvalue() == expected
    with (tmp_path / "f").open("wb") as file:
        sunk(RawSink(file, size), pieces)
    assert (tmp_path / "f").read_bytes() == expected


def test_a_full_disk_has_a_name() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(NoSpace, match="/dev/full"):  # noqa: PTH123
        sunk(RawSink(full, 10), [(0, b"x")])
