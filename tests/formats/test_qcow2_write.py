"""Writing qcow2: what QEMU's own check says of it, and what is read back."""

from __future__ import annotations

import io
import json
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cowshed.errors import InvalidArgument, NoSpace
from cowshed.formats.qcow2 import Qcow2Sink, Qcow2Source
from cowshed.formats.qcow2.sink import CLUSTER
from formats.qcow2_images import by_qemu, needs_qemu, of_stream, qemu_img

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

Extents = list[tuple[int, int]]


def filling(offset: int, length: int) -> bytes:
    """Content that tells where it belongs."""
    return random.Random(offset).randbytes(length)


def write(sink: Qcow2Sink, extents: Extents) -> None:
    for offset, length in extents:
        for at in range(offset, offset + length, MIB):
            sink.write(at, memoryview(filling(at, min(MIB, offset + length - at))))
    sink.finish()


def made(path: Path, size: int, extents: Extents) -> Path:
    with path.open("wb") as file:
        write(Qcow2Sink(file, size, extents), extents)
    return path


def expected(size: int, extents: Extents) -> bytes:
    whole = bytearray(-(-size // 512) * 512)
    for offset, length in extents:
        for at in range(offset, offset + length, MIB):
            end = min(at + MIB, offset + length)
            whole[at:end] = filling(at, end - at)
    return bytes(whole)


SMALL: list[tuple[int, Extents]] = [
    (0, []),
    (1, []),
    (1, [(0, 1)]),
    (511, [(0, 511)]),
    (CLUSTER, [(0, CLUSTER)]),
    (CLUSTER + 1, [(CLUSTER, 1)]),
    (5 * MIB + 77, [(0, 100), (200, 300), (CLUSTER, 10), (3 * MIB - 5, 2 * MIB + 82)]),
    (20 * MIB, [(at, 4096) for at in range(0, 20 * MIB, 2 * CLUSTER)]),
]


@needs_qemu
@pytest.mark.parametrize(("size", "extents"), SMALL)
def test_qemu_finds_nothing_wrong_and_reads_the_same(tmp_path: Path, size: int, extents: Extents) -> None:
    path = made(tmp_path / "a.qcow2", size, extents)
    qemu_img("check", "-f", "qcow2", path)
    assert by_qemu(path) == expected(size, extents)
    info = json.loads(qemu_img("info", "-f", "qcow2", "--output=json", path))
    assert info["virtual-size"] == -(-size // 512) * 512
    assert info["format-specific"]["data"]["compat"] == "1.1"
    assert info["cluster-size"] == CLUSTER


@needs_qemu
@pytest.mark.parametrize(
    ("size", "extents"),
    [
        (16 * TIB, []),
        (16 * TIB, [(0, 10), (5 * TIB - 1, 2), (16 * TIB - 4096, 4096)]),
        (100 * TIB, [(0, 1), (100 * TIB - 1, 1)]),
        # The end of one L2 table and the start of the next, and a table between them with nothing.
        (3 * GIB, [(511 * MIB, 2 * MIB), (GIB + 511 * MIB, 2 * MIB)]),
    ],
)
def test_large_and_sparse(tmp_path: Path, size: int, extents: Extents) -> None:
    path = made(tmp_path / "a.qcow2", size, extents)
    qemu_img("check", "-f", "qcow2", path)
    assert path.stat().st_size < 32 * MIB
    with path.open("rb") as file, Qcow2Source(file) as source:
        assert source.size == size
        for offset, data in source.pieces(2):
            got = bytes(data)
            for start, length in extents:
                within = range(max(start, offset), min(start + length, offset + len(got)))
                if within:
                    at = (within.start - start) // MIB * MIB + start
                    wanted = filling(at, min(MIB, start + length - at))[within.start - at :]
                    assert got[within.start - offset :].startswith(wanted[: within.stop - within.start])
    parts = json.loads(qemu_img("map", "--output=json", path))
    clusters = {at for start, length in extents for at in range(start >> 16, (start + length - 1 >> 16) + 1)}
    assert sum(part["length"] for part in parts if part["present"]) == len(clusters) * CLUSTER


@pytest.mark.parametrize(("size", "extents"), SMALL)
def test_what_is_counted_is_what_is_there(tmp_path: Path, size: int, extents: Extents) -> None:
    """A count for what is behind the end makes QEMU write far behind it; its check does not look there."""
    file = made(tmp_path / "a.qcow2", size, extents).read_bytes()
    table = int.from_bytes(file[48:56], "big")
    block = int.from_bytes(file[table : table + 8], "big")
    counts = memoryview(file)[block : block + CLUSTER].cast("H")
    assert sum(map(bool, counts)) == len(file) // CLUSTER
    assert all(counts[: len(file) // CLUSTER])


@needs_qemu
def test_more_than_one_refcount_block(tmp_path: Path) -> None:
    """A block counts 2 GiB; what is announced and never written stays a hole."""
    path = tmp_path / "a.qcow2"
    with path.open("wb") as file:
        Qcow2Sink(file, 8 * TIB, [(TIB, 200 * GIB)]).finish()
    assert path.stat().st_blocks * 512 < 40 * MIB
    qemu_img("check", "-f", "qcow2", path)


@given(
    st.integers(1, 40 * CLUSTER),
    st.lists(st.tuples(st.integers(0, 3 * CLUSTER), st.integers(1, 3 * CLUSTER)), max_size=12),
)
@settings(deadline=None, max_examples=60)
def test_there_and_back(size: int, steps: list[tuple[int, int]]) -> None:
    extents: Extents = []
    at = 0
    for gap, length in steps:
        start, at = at + gap, min(size, at + gap + length)
        if start < at:
            extents.append((start, at - start))
    out = io.BytesIO()
    write(Qcow2Sink(out, size, extents), extents)
    assert of_stream(io.BytesIO(out.getvalue())) == expected(size, extents)
    clusters = {at // CLUSTER for start, length in extents for at in range(start, start + length, 512)}
    clusters |= {(start + length - 1) // CLUSTER for start, length in extents}
    tables = 1 + 1 + 1 + 1 + bool(extents)  # header, counts and their table, L1, L2
    assert len(out.getvalue()) == (len(clusters) + tables) * CLUSTER


def drained(write_into: Callable[[BinaryIO], None]) -> bytes:
    """What comes out of a pipe that is written into."""
    read_end, write_end = os.pipe()
    got: list[bytes] = []

    def drain() -> None:
        with os.fdopen(read_end, "rb") as pipe:
            got.append(pipe.read())

    thread = threading.Thread(target=drain)
    thread.start()
    with os.fdopen(write_end, "wb") as pipe:
        write_into(pipe)
    thread.join()
    return got[0]


@pytest.mark.parametrize(("size", "extents"), SMALL)
def test_a_pipe_gets_what_a_file_gets(tmp_path: Path, size: int, extents: Extents) -> None:
    path = made(tmp_path / "a.qcow2", size, extents)

    def into(pipe: BinaryIO) -> None:
        write(Qcow2Sink(pipe, size, extents), extents)

    assert drained(into) == path.read_bytes()


def test_what_was_not_announced_is_refused() -> None:
    sink = Qcow2Sink(io.BytesIO(), MIB, [(CLUSTER, 1)])
    for offset in (0, 2 * CLUSTER):
        with pytest.raises(ValueError, match="announced"):
            sink.write(offset, memoryview(b"x"))


def test_a_size_that_qcow2_does_not_have() -> None:
    with pytest.raises(InvalidArgument, match="export it raw"):
        Qcow2Sink(io.BytesIO(), (1 << 61) + 1, [])


def test_a_full_disk_has_a_name() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(NoSpace, match="/dev/full"):  # noqa: PTH123
        Qcow2Sink(full, MIB, []).finish()
