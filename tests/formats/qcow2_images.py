"""Images to read: laid out by hand, byte for byte, or made by QEMU's own tools."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import pytest

from cowshed.formats.qcow2 import Qcow2Source
from cowshed.formats.source import PIECE, Source

zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
RING = 4
COPIED = 1 << 63
COMPRESSED = 1 << 62

needs_qemu = pytest.mark.skipif(
    not (shutil.which("qemu-img") and shutil.which("qemu-io")),
    reason="qemu-img and qemu-io are missing: apt-get install qemu-utils",
)


def rebuilt(source: Source) -> bytes:
    """All pieces in their places; checks that they ascend, and that nothing is beyond the end."""
    assert source.size is not None
    whole = bytearray(source.size)
    end = 0
    for offset, data in source.pieces(RING):
        assert offset >= end
        assert 0 < len(data) <= PIECE
        end = offset + len(data)
        assert end <= source.size
        whole[offset:end] = data
    return bytes(whole)


def content(path: Path, *, snapshot: str | None = None, allow_backing_outside: bool = False) -> bytes:
    """What an image file holds."""
    with (
        path.open("rb") as file,
        Qcow2Source(file, snapshot=snapshot, allow_backing_outside=allow_backing_outside) as source,
    ):
        return rebuilt(source)


def of_stream(stream: BinaryIO) -> bytes:
    """What an open image holds."""
    with Qcow2Source(stream) as source:
        return rebuilt(source)


def qemu_img(*words: object) -> str:
    """Run qemu-img, and expect success."""
    return subprocess.run(["qemu-img", *map(str, words)], capture_output=True, text=True, check=True).stdout


def qemu_io(path: Path, *commands: str) -> None:
    """Write to a qcow2 as a guest would."""
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(
        ["qemu-io", "-f", "qcow2", *words, str(path)], capture_output=True, text=True, check=True
    )
    assert "failed" not in done.stdout + done.stderr


def by_qemu(path: Path, *words: object) -> bytes:
    """What qemu-img says that an image holds."""
    out = path.with_suffix(".by-qemu")
    qemu_img("convert", *words, "-f", "qcow2", "-O", "raw", path, out)
    try:
        return out.read_bytes()
    finally:
        out.unlink()


@dataclass
class Layout:
    """A qcow2 laid out by hand. Numbers that are None are what they should be; any lie can be told."""

    size: int
    bits: int = 9
    version: int = 3
    l2: dict[int, bytes] = field(default_factory=dict)
    """Raw L2 entries by guest cluster; see `data` and `compressed`."""
    incompatible: int = 0
    encryption: int = 0
    header_length: int = 112
    compression: int = 0
    refcount_order: int = 4
    extensions: bytes = b""
    backing: bytes = b""
    backing_place: tuple[int, int] | None = None
    l1_size: int | None = None
    l1_offset: int | None = None
    l1_entries: dict[int, int] = field(default_factory=dict)
    """Entries that are put over what they should be."""
    snapshots: tuple[int, int] = (0, 0)
    tail: bytearray = field(default_factory=bytearray)
    """What is behind the tables."""

    @property
    def cluster(self) -> int:
        return 1 << self.bits

    @property
    def entry_size(self) -> int:
        return 16 if self.incompatible & 16 else 8

    @property
    def _per_table(self) -> int:
        return self.cluster // self.entry_size

    def _tables(self) -> int:
        return -(-self.size // (self._per_table << self.bits))

    @property
    def _l1_clusters(self) -> int:
        return -(-self._tables() * 8 // self.cluster)

    @property
    def l2_start(self) -> int:
        return (1 + self._l1_clusters) * self.cluster

    @property
    def tail_start(self) -> int:
        """Where the tail begins in the file."""
        return self.l2_start + self._tables() * self.cluster

    def put(self, content: bytes, *, aligned: bool = True) -> int:
        """Add to the tail; returns where in the file it is."""
        if aligned:
            self.tail += bytes(-len(self.tail) % self.cluster)
        self.tail += content
        return self.tail_start + len(self.tail) - len(content)

    def data(self, cluster: int, content: bytes) -> Layout:
        """Map clusters to plain content, from one on."""
        at = self.put(content.ljust(-(-len(content) // self.cluster) * self.cluster, b"\0"))
        for turn in range(-(-len(content) // self.cluster)):
            self.l2[cluster + turn] = struct.pack(">Q", at + turn * self.cluster | COPIED)
        return self

    def compressed(self, cluster: int, stored: bytes, *, sectors: int | None = None) -> Layout:
        """Map a cluster to compressed bytes, right behind those before."""
        at = self.put(stored, aligned=False)
        if sectors is None:
            sectors = (at % 512 + len(stored) - 1) // 512
        shift = 62 - (self.bits - 8)
        self.l2[cluster] = struct.pack(">Q", COMPRESSED | sectors << shift | at)
        return self

    def entry(self, cluster: int, value: int, bitmap: int = 0) -> Layout:
        """Set an L2 entry to a number."""
        self.l2[cluster] = struct.pack(">QQ", value, bitmap)[: self.entry_size]
        return self

    def bytes(self) -> bytes:
        """The file."""
        tables = self._tables()
        l1_offset = self.cluster if self.l1_offset is None else self.l1_offset
        header = struct.pack(
            ">4sIQIIQIIQQIIQ",
            b"QFI\xfb",
            self.version,
            0,
            0,
            self.bits,
            self.size,
            self.encryption,
            tables if self.l1_size is None else self.l1_size,
            l1_offset,
            0,
            0,
            *self.snapshots,
        )
        if self.version != 2:
            header += struct.pack(">QQQII", self.incompatible, 0, 0, self.refcount_order, self.header_length)
            header += bytes([self.compression]).ljust(8, b"\0")
        header += self.extensions + bytes(8)
        if self.backing or self.backing_place:
            offset, length = self.backing_place or (len(header), len(self.backing))
            header = header[:8] + struct.pack(">QI", offset, length) + header[20:] + self.backing
        assert len(header) <= self.cluster
        file = bytearray(header.ljust(self.cluster, b"\0"))
        l1 = bytearray(self._l1_clusters * self.cluster)
        l2 = bytearray(tables * self.cluster)
        for turn in range(tables):
            place = self.l1_entries.get(turn, self.l2_start + turn * self.cluster | COPIED)
            l1[turn * 8 : turn * 8 + 8] = struct.pack(">Q", place)
        for cluster, entry in self.l2.items():
            at = cluster * self.entry_size
            l2[at : at + len(entry)] = entry
        return bytes(file + l1 + l2 + self.tail)


def extension(kind: int, content: bytes) -> bytes:
    """A header extension."""
    return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)


def backing_format(name: bytes) -> bytes:
    """The header extension that says which format the backing file has."""
    return extension(0xE2792ACA, name)


def deflated(content: bytes) -> bytes:
    """As QEMU compresses: raw deflate with a window of 4 KiB."""
    engine = zlib.compressobj(wbits=-12)
    return engine.compress(content) + engine.flush()
