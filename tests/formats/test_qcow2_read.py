"""Reading qcow2: what QEMU makes, what a hand lays out, and what lies."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from cowshed.errors import CowshedError, FormatError, InvalidArgument, NotFound
from cowshed.formats.qcow2 import Qcow2Source
from formats.qcow2_images import (
    COMPRESSED,
    COPIED,
    Layout,
    by_qemu,
    content,
    deflated,
    extension,
    needs_qemu,
    of_stream,
    qemu_img,
    qemu_io,
    rebuilt,
    zstd,
)

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


def read(layout: Layout) -> bytes:
    return of_stream(io.BytesIO(layout.bytes()))


# --- made by QEMU


GUEST = [
    "write -P 5 1000K 3M",
    "write -P 7 5000000 512",
    "write -P 9 9437172 12",
    "write -z 2M 512K",
    "discard 3M 64K",
    "write -z 6M 1M",
    "write -P 3 8M 5120",
]
"""What a guest wrote to 9 MiB."""


@needs_qemu
@pytest.mark.parametrize(
    "options",
    [
        "compat=0.10",
        "compat=v3",
        "cluster_size=512",
        "cluster_size=4096",
        "cluster_size=2M",
        "extended_l2=on",
        "extended_l2=on,cluster_size=16384",
        "extended_l2=on,cluster_size=2M",
        "preallocation=metadata",
        "preallocation=falloc",
        "preallocation=full",
        "lazy_refcounts=on",
        "refcount_bits=1",
        "refcount_bits=64",
        "compression_type=zstd",
    ],
)
def test_what_qemu_writes(tmp_path: Path, options: str) -> None:
    path = tmp_path / "a.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, path, "9M")
    assert content(path) == bytes(9 * MIB)
    qemu_io(path, *GUEST)
    assert content(path) == by_qemu(path)


@pytest.fixture(scope="module")
def mixed() -> bytes:
    """Text, noise and nothing, 5 MiB and a bit."""
    dice = random.Random(5)
    data = bytearray(5 * MIB + 512)
    for turn in range(40):
        at, length = dice.randrange(5 * MIB - 60000), dice.randrange(60000)
        data[at : at + length] = (
            dice.randbytes(length) if turn % 2 else (b"text %d " % turn * length)[:length]
        )
    return bytes(data)


@needs_qemu
@pytest.mark.parametrize("kind", ["zlib", "zstd"])
@pytest.mark.parametrize("cluster", [512, 4 * KIB, 64 * KIB, 2 * MIB])
def test_what_qemu_compresses(tmp_path: Path, mixed: bytes, kind: str, cluster: int) -> None:
    (tmp_path / "raw").write_bytes(mixed)
    options = f"compression_type={kind},cluster_size={cluster}"
    qemu_img("convert", "-c", "-f", "raw", "-O", "qcow2", "-o", options, tmp_path / "raw", tmp_path / "q")
    assert content(tmp_path / "q") == mixed


@needs_qemu
@pytest.mark.parametrize("kind", ["qcow2", "raw"])
def test_a_chain(tmp_path: Path, mixed: bytes, kind: str) -> None:
    (tmp_path / "base.raw").write_bytes(mixed)
    qemu_img(
        "convert", "-f", "raw", "-O", kind, *["-c"] * (kind == "qcow2"), tmp_path / "base.raw", tmp_path / "0"
    )
    for turn, options in enumerate(
        ["cluster_size=512", "cluster_size=2M", "extended_l2=on,cluster_size=16384"]
    ):
        below = kind if turn == 0 else "qcow2"
        path = tmp_path / str(turn + 1)
        # Each is larger than what is below: that part reads as zeros, not as what is below it.
        words = ["-q", "-f", "qcow2", "-o", options, "-b", str(turn), "-F", below, path, f"{6 + turn}M"]
        qemu_img("create", *words)
        qemu_io(
            path,
            f"write -P {turn + 1} {turn * 700 + 3}K 40960",
            f"write -z {turn + 2}M 70K",
            "write 5242368 512",
        )
        assert content(path) == by_qemu(path)
    qemu_img("create", "-q", "-f", "qcow2", "-b", "3", "-F", "qcow2", tmp_path / "4", "1M")
    assert content(tmp_path / "4") == by_qemu(tmp_path / "4")


@needs_qemu
def test_internal_snapshots(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, "4M")
    held = {}
    for turn, name in enumerate(["first", "zweiter ü", "3"]):
        qemu_io(path, f"write -P {turn + 1} {turn}M 1500K")
        qemu_img("snapshot", "-c", name, path)
        held[name] = content(path)
    qemu_img("resize", "-q", path, "5M")
    qemu_io(path, "write -P 9 0 5M")
    with path.open("rb") as file, Qcow2Source(file) as source:
        listed = source.snapshots()
    assert [(s.id, s.name, s.size, s.vm_state) for s in listed] == [
        ("1", "first", 4 * MIB, 0),
        ("2", "zweiter ü", 4 * MIB, 0),
        ("3", "3", 4 * MIB, 0),
    ]
    assert all(abs(s.date - time.time()) < 600 for s in listed)
    for name, expected in held.items():
        assert content(path, snapshot=name) == expected
        # qemu-img gives every snapshot the size of the disk as it is now.
        assert by_qemu(path, "-l", name) == expected.ljust(5 * MIB, b"\0")
    assert content(path, snapshot="2") == held["zweiter ü"]
    assert content(path) == by_qemu(path) == bytes([9]) * (5 * MIB)
    with pytest.raises(NotFound, match="'zweiter ü'"):
        content(path, snapshot="fourth")


@needs_qemu
def test_a_dirty_image_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    qemu_io(path, "write -P 5 0 64K")
    with path.open("r+b") as file:
        file.seek(79)
        file.write(b"\1")
    assert content(path) == b"\5" * 65536 + bytes(MIB - 65536)


# --- laid out by hand


def test_plain_zero_and_compressed_clusters() -> None:
    dice = random.Random(1)
    first, third, packed = dice.randbytes(1024), dice.randbytes(512), dice.randbytes(100) + bytes(412)
    layout = Layout(64 * 512 * 3 + 100)
    layout.data(0, first).data(70, third).entry(2, 1).entry(3, layout.put(b"x" * 512) | 1 | COPIED)
    layout.compressed(5, deflated(packed)).compressed(6, deflated(b"y" * 512)).data(192, b"end" * 34)
    whole = bytearray(layout.size)
    whole[:1024], whole[70 * 512 : 71 * 512] = first, third
    whole[5 * 512 : 7 * 512] = packed + b"y" * 512
    whole[192 * 512 :] = (b"end" * 34)[:100]
    assert read(layout) == whole


def test_zstd_frames() -> None:
    data = random.Random(2).randbytes(512)
    layout = Layout(4 * 512, incompatible=8, compression=1)
    layout.compressed(0, zstd.compress(data))
    layout.compressed(1, zstd.compress(data[:100]) + zstd.compress(b"") + zstd.compress(data[100:]))
    layout.compressed(3, zstd.compress(b"z" * 512))
    assert read(layout) == data + data + bytes(512) + b"z" * 512
    for stored in (
        zstd.compress(b"z" * 513),
        zstd.compress(b"z" * 511),
        b"no zstd",
    ):
        with pytest.raises(FormatError, match="damaged"):
            read(Layout(512, incompatible=8, compression=1).compressed(0, stored))
    with pytest.raises(FormatError, match="damaged"):
        read(Layout(65536, bits=16, incompatible=8, compression=1).compressed(0, zstd.compress(b"") * 1000))


@pytest.mark.parametrize("kind", [0, 1])
def test_clusters_that_share_a_sector(kind: int) -> None:
    """Each takes some bytes and claims a sector: only what it takes counts."""
    layout = Layout(2000 << 16, bits=16, incompatible=8 * kind, compression=kind)
    for turn in range(2000):
        plain = bytes([turn % 251]) * 65536
        layout.compressed(turn, zstd.compress(plain) if kind else deflated(plain))
    image = layout.bytes()
    assert len(image) < 2000 * 256
    with Qcow2Source(io.BytesIO(image)) as source:
        for offset, data in source.pieces(2):
            assert data[0] == (offset >> 16) % 251
            assert data[-1] == (offset + len(data) - 1 >> 16) % 251


def test_deflated_data_that_goes_on_behind_the_cluster() -> None:
    """QEMU takes as much as the cluster needs, and lets the rest be."""
    layout = Layout(60 * 512)
    for turn in range(60):
        layout.compressed(turn, deflated(bytes([turn + 1]) * 512 + random.Random(turn).randbytes(400)))
    assert read(layout) == b"".join(bytes([turn + 1]) * 512 for turn in range(60))


def test_subclusters() -> None:
    data = bytes(range(1, 33))
    layout = Layout(3 << 14, bits=14, incompatible=16)
    at = layout.put(b"".join(bytes([n]) * 512 for n in data))
    layout.entry(0, at, 0xFFFF_FFFF).entry(1, at, 0b1010 | 0b0101 << 32).entry(2, 0, 0xFFFF_FFFF << 32)
    whole = bytearray(3 << 14)
    whole[: 1 << 14] = b"".join(bytes([n]) * 512 for n in data)
    for n in (1, 3):
        whole[(1 << 14) + n * 512 : (1 << 14) + (n + 1) * 512] = bytes([data[n]]) * 512
    assert read(layout) == whole
    for entry in ((at, 1 | 1 << 32), (0, 1), (at + 512, 1)):
        with pytest.raises(FormatError):
            read(Layout(3 << 14, bits=14, incompatible=16, tail=layout.tail).entry(1, *entry))


def test_subclusters_in_disorder() -> None:
    layout = Layout(2 << 14, bits=14, incompatible=16)
    second, first = (layout.put(letter * (1 << 14)) for letter in (b"2", b"1"))
    layout.entry(0, first, 0xFFFF_FFFF).entry(1, second, 0xFFFF_FFFF)
    assert read(layout) == b"1" * (1 << 14) + b"2" * (1 << 14)


def test_no_bytes_and_no_tables() -> None:
    assert read(Layout(0)) == b""
    assert read(Layout(512, l1_entries={0: 0})) == bytes(512)


def test_a_large_empty_disk_takes_no_time() -> None:
    layout = Layout(1 << 20, bits=21, l1_size=1 << 22)
    file = bytearray(layout.bytes())
    file[24:32] = struct.pack(">Q", 1 << 61)
    file[layout.cluster : layout.cluster + 8] = bytes(8)
    file += bytes((1 << 25) + layout.cluster - len(file))
    with Qcow2Source(io.BytesIO(file)) as source:
        assert source.size == 1 << 61
        assert list(source.pieces(2)) == []


def test_the_last_cluster_may_lie_half_behind_the_end_of_the_file() -> None:
    layout = Layout(512 + 100).data(0, b"a" * 612)
    whole = layout.bytes()
    assert of_stream(io.BytesIO(whole[:-412])) == b"a" * 612
    with pytest.raises(FormatError, match="cut short"):
        of_stream(io.BytesIO(whole[:-413]))


def test_only_what_is_data_is_handed_over(tmp_path: Path) -> None:
    layout = Layout(8 * MIB, bits=16).data(3, b"x" * 65536).entry(9, 1)
    layout.data(20, bytes(2 * MIB))
    (tmp_path / "q").write_bytes(layout.bytes())
    # The clusters are mapped, and are holes in the file.
    at = layout.tail_start + 65536
    os.truncate(tmp_path / "q", at)
    os.truncate(tmp_path / "q", at + 2 * MIB)
    with (tmp_path / "q").open("rb") as file, Qcow2Source(file) as source:
        assert [(offset, len(data)) for offset, data in source.pieces(4)] == [(3 * 65536, 65536)]


def test_pieces_are_large_where_the_file_is_in_order() -> None:
    layout = Layout(5 * MIB).data(1, b"x" * (4 * MIB))
    with Qcow2Source(io.BytesIO(layout.bytes())) as source:
        lengths = [len(data) for _, data in source.pieces(4)]
    assert lengths == [MIB] * 4


# --- lies


@pytest.mark.parametrize(
    ("layout", "complaint"),
    [
        (Layout(512, version=1), "version 1"),
        (Layout(512, version=4), "version 4"),
        (Layout(512, incompatible=2), "corrupt"),
        (Layout(512, incompatible=4), "another file"),
        (Layout(512, incompatible=8), "contradicts itself"),
        (Layout(512, compression=1), "contradicts itself"),
        (Layout(512, incompatible=8, compression=2), "not known"),
        (Layout(512, incompatible=16), "subclusters"),
        (Layout(512, incompatible=1 << 40 | 1 << 5), r"bits 5, 40"),
        (Layout(512, encryption=1), "encrypted"),
        (Layout(512, encryption=2), "encrypted"),
        (Layout(512, refcount_order=7), "reference counts"),
        (Layout(512, header_length=96), "header of 96"),
        (Layout(512, header_length=1024), "header of 1024"),
        (Layout(512, header_length=107), "header of 107"),
        (Layout(512, l1_size=0), "claims a disk"),
        (Layout(512, l1_size=1 << 31), "L1 table of"),
        (Layout(512, l1_size=1 << 22), "beyond its end"),
        (Layout(512, l1_offset=513), "no cluster's start"),
        (Layout(512, l1_offset=1 << 60), "beyond its end"),
        (Layout(512, l1_entries={0: 1 << 40}), "beyond its end"),
        (Layout(1024 * 512, bits=10, l1_entries={0: 512}), "L2 table at 0x200, which"),
        (Layout(512).entry(0, 1 << 30), "beyond its end"),
        (Layout(1024, bits=10).entry(0, 512), "no cluster's start"),
        (Layout(512, version=2).entry(0, 1), "version 2"),
        (Layout(512).entry(0, COMPRESSED | 1 << 40), "beyond its end"),
        (Layout(512).compressed(0, b"\xff" * 60), "damaged"),
        (Layout(512).compressed(0, deflated(b"short")), "too short"),
        (Layout(512, snapshots=(1 << 20, 512)), "internal snapshots"),
        (Layout(512, snapshots=(1, 513)), "no cluster's start"),
        (Layout(512, backing=b"x", backing_place=(300, 1000)), "1000 bytes"),
        (Layout(512, backing=b"x", backing_place=(1 << 50, 10)), "backing file's name"),
        (Layout(512, backing=b"x", backing_place=(300, 0)), "backing file's name"),
        (Layout(512, backing=b"a\0b"), "NUL"),
        (Layout(512, extensions=struct.pack(">II", 5, 1 << 31)), "header extension"),
        (Layout(512, extensions=struct.pack(">II", 5, 393)), "header extension"),
    ],
)
def test_lies_are_told(layout: Layout, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        read(layout)


def with_snapshot(l1_offset: int = 512, l1_size: int = 1, size: int = 1024, extra: int = 16) -> io.BytesIO:
    """An image of two clusters with a snapshot `name`, of id 7, that has the same tables."""
    layout = Layout(1024).data(0, b"s" * 1024)
    entry = struct.pack(">QIHHIIQII", l1_offset, l1_size, 1, 4, 5, 500_000_000, 7, 0, extra)
    entry += struct.pack(">QQ", 0, size).ljust(min(extra, 4096), b"\0") + b"7name"
    layout.snapshots = 1, layout.put(entry)
    return io.BytesIO(layout.bytes())


def test_a_snapshot_by_hand() -> None:
    for name in ("7", "name"):
        with Qcow2Source(with_snapshot(), snapshot=name) as source:
            assert rebuilt(source) == b"s" * 1024
            (found,) = source.snapshots()
    assert (found.id, found.name, found.size, found.date) == ("7", "name", 1024, 5.5)
    with Qcow2Source(with_snapshot(size=600), snapshot="name") as source:
        assert rebuilt(source) == b"s" * 600


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (with_snapshot(l1_offset=1 << 40), "L1 table at 0x10000000000"),
        (with_snapshot(l1_offset=513), "no cluster's start"),
        (with_snapshot(l1_size=0), "claims a disk"),
        (with_snapshot(l1_size=1 << 30), "L1 table of"),
        (with_snapshot(size=1 << 50), "claims a disk"),
        (with_snapshot(extra=2000), "2000 bytes of extra"),
        (with_snapshot(extra=1 << 31), "of extra data"),
        (io.BytesIO(with_snapshot().getvalue()[:-1]), "list of snapshots"),
    ],
)
def test_snapshots_that_lie(image: io.BytesIO, complaint: str) -> None:
    image.seek(0)
    with pytest.raises(FormatError, match=complaint):
        Qcow2Source(image, snapshot="name")
    assert of_stream(image) == b"s" * 1024  # the disk itself does not need them


@pytest.mark.parametrize("bits", [0, 8, 22, 63, 1 << 31])
def test_cluster_sizes_that_are_none(bits: int) -> None:
    file = bytearray(Layout(512).bytes())
    file[20:24] = struct.pack(">I", bits)
    with pytest.raises(FormatError, match="clusters of"):
        of_stream(io.BytesIO(file))


def test_every_cut_is_told() -> None:
    whole = (
        Layout(3 * 512).data(0, b"a" * 512).compressed(1, deflated(b"b" * 512)).data(2, b"c" * 512).bytes()
    )
    assert of_stream(io.BytesIO(whole)) == b"a" * 512 + b"b" * 512 + b"c" * 512
    for length in range(len(whole)):
        with pytest.raises(FormatError):
            of_stream(io.BytesIO(whole[:length]))


def test_an_unknown_extension_is_skipped() -> None:
    layout = Layout(512, extensions=extension(77, b"12345") + extension(78, b""), bits=12)
    assert read(layout) == bytes(512)


def read_through(image: bytes) -> None:
    """Read what may be endless, a piece at a time."""
    with Qcow2Source(io.BytesIO(image)) as source:
        for _ in source.pieces(2):
            pass


def same_data_everywhere() -> Layout:
    layout = Layout(4 * GIB, bits=16)
    at = layout.put(b"x" * 65536)
    for cluster in range(65536):
        layout.entry(cluster, at | COPIED)
    return layout


def same_compressed_everywhere() -> Layout:
    layout = Layout(4 * GIB, bits=16).compressed(0, deflated(b"x" * 65536))
    for cluster in range(1, 65536):
        layout.l2[cluster] = layout.l2[0]
    return layout


def same_zstd_everywhere() -> Layout:
    layout = Layout(4 * GIB, bits=16, incompatible=8, compression=1)
    layout.compressed(0, zstd.compress(b"x" * 65536))
    for cluster in range(1, 65536):
        layout.l2[cluster] = layout.l2[0]
    return layout


@pytest.mark.parametrize("made", [same_data_everywhere, same_compressed_everywhere, same_zstd_everywhere])
def test_no_byte_stands_for_many(made: Callable[[], Layout]) -> None:
    layout = made()
    start = time.monotonic()
    with pytest.raises(FormatError, match="over and over"):
        read_through(layout.bytes())
    assert time.monotonic() - start < 30


def test_no_table_stands_for_many() -> None:
    """4 TiB of zeros, by one table of 64 KiB for 512 MiB."""
    layout = Layout(1 << 29, bits=16)
    for cluster in range(8192):
        layout.entry(cluster, 1)
    file = bytearray(layout.bytes())
    read_through(bytes(file))
    file[24:32], file[36:40] = struct.pack(">Q", 1 << 42), struct.pack(">I", 8192)
    file[layout.cluster : 2 * layout.cluster] = struct.pack(">Q", layout.l2_start | COPIED) * 8192
    with pytest.raises(FormatError, match="over and over"):
        read_through(bytes(file))


def test_a_pipe_is_refused() -> None:
    read_end, write_end = os.pipe()
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe, pytest.raises(InvalidArgument, match="save it"):
        Qcow2Source(pipe)


# --- fuzzing


def samples() -> list[bytes]:
    """Small images that have everything in them."""
    dice = random.Random(8)
    layout = Layout(64 * 512 * 2).data(0, dice.randbytes(2048)).entry(9, 1).data(66, dice.randbytes(512))
    layout.compressed(10, deflated(b"y" * 512)).compressed(11, deflated(dice.randbytes(64) * 8))
    packed = Layout(1 << 15, bits=10, incompatible=8, compression=1).compressed(1, zstd.compress(b"z" * 1024))
    packed.compressed(2, zstd.compress(dice.randbytes(128) * 8)).data(5, dice.randbytes(3000))
    split = Layout(3 << 14, bits=14, incompatible=16)
    split.entry(0, split.put(dice.randbytes(1 << 14)), 0xFFFF).entry(1, 0, 0xFF << 32)
    split.entry(2, split.put(dice.randbytes(1 << 14)), 0xFFFF_FFFF)
    listed = Layout(4096, snapshots=(1, 0)).data(0, dice.randbytes(1024))
    entry = struct.pack(">QIHHIIQIIQQ", 512, 1, 1, 4, 5, 6, 7, 0, 16, 0, 4096) + b"1name"
    listed.snapshots = 1, listed.put(entry.ljust(512, b"\0"))
    old = Layout(2048, version=2).data(1, dice.randbytes(1024))
    return [layout.bytes(), packed.bytes(), split.bytes(), listed.bytes(), old.bytes()]


def mutated(dice: random.Random, image: bytes) -> bytes:
    """Some bytes changed, most of them where the tables are."""
    changed = bytearray(image)
    for _ in range(dice.choice([1, 1, 2, 3, 8])):
        match dice.randrange(5):
            case 0:
                changed[dice.randrange(120)] = dice.randrange(256)
            case 1:
                at = dice.randrange(0, min(len(changed), 4096) - 8, 8)
                changed[at : at + 8] = dice.choice(
                    [bytes(8), b"\xff" * 8, dice.randbytes(8), struct.pack(">Q", dice.randrange(64) * 512)]
                )
            case 2:
                changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
            case 3:
                at, length = dice.randrange(len(changed)), dice.randrange(64)
                changed[at : at + length] = dice.randbytes(length)
                del changed[len(image) :]
            case 4:
                del changed[dice.randrange(len(changed) // 2, len(changed)) + 1 :]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(10))
def test_mutants_end_in_content_or_one_error(seed: int) -> None:
    dice = random.Random(seed)
    images = samples()
    for image in images:
        assert rebuilt(Qcow2Source(io.BytesIO(image)))
    outcomes = {True: 0, False: 0}
    tracemalloc.start()
    start = time.monotonic()
    try:
        for _ in range(300):
            mutant = mutated(dice, dice.choice(images))
            try:
                with Qcow2Source(io.BytesIO(mutant)) as source:
                    source.snapshots()
                    total = 0
                    for offset, data in source.pieces(2):
                        total += len(data)
                        assert 0 <= offset <= offset + len(data) <= source.size
                # Compressed clusters are the larger, by what deflate and a cluster allow at most.
                assert total <= 1100 * len(mutant)
                outcomes[True] += 1
            except CowshedError:
                outcomes[False] += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert min(outcomes.values()) > 20
    # Two pieces, and a window or a cluster of each kind, of the largest size.
    assert peak < 16 * MIB
    assert time.monotonic() - start < 60


@needs_qemu
def test_mutants_read_as_qemu_reads_them(tmp_path: Path, mixed: bytes) -> None:
    dice = random.Random(99)
    (tmp_path / "raw").write_bytes(mixed[: 96 * KIB])
    images = []
    for options in (
        ["cluster_size=512"],
        ["cluster_size=4096"],
        ["extended_l2=on"],
        ["cluster_size=4096", "-c"],
    ):
        path = tmp_path / "whole.qcow2"
        qemu_img("convert", "-f", "raw", "-O", "qcow2", "-o", *options, tmp_path / "raw", path)
        images.append(path.read_bytes())
    path = tmp_path / "mutant.qcow2"
    agreed = 0
    for turn in range(80):
        image = images[turn % len(images)]
        # The header stays: a disk of exabytes would keep qemu-img for as long.
        path.write_bytes(image[:512] + mutated(dice, image)[512:])
        try:
            mine = content(path)
        except CowshedError:
            continue
        try:
            theirs = by_qemu(path)
        except subprocess.CalledProcessError:
            continue
        assert mine == theirs
        agreed += 1
    assert agreed > 10
