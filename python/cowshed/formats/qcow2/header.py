"""The header of a qcow2 file and its extensions; every field is checked here, before anyone uses it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from cowshed.errors import FormatError
from cowshed.formats.qcow2.file import ImageFile

MAGIC = b"QFI\xfb"
V2 = struct.Struct(">4sIQIIQIIQQIIQ")
"""The whole header of version 2: from the magic to the offset of the snapshots."""
V3 = struct.Struct(">QQQII")
"""What version 3 has behind it: three sets of features, the refcounts' order, the header's length."""
BACKING_FORMAT = 0xE2792ACA
"""The header extension with the backing file's format."""
EXTENSION = struct.Struct(">II")

MIN_CLUSTER_BITS = 9
MAX_CLUSTER_BITS = 21
MIN_EXTENDED_CLUSTER_BITS = 14
MAX_L1_BYTES = 32 << 20
"""The longest L1 table that QEMU takes."""
MAX_BACKING_NAME = 1023
MAX_SNAPSHOTS = 65536
"""As many as QEMU takes."""
OFFSET = 0x00FF_FFFF_FFFF_FE00
"""The bits of an L1 or L2 entry that are an offset into the file."""

_CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = 2, 4, 8, 16
_KNOWN = 0x1F


class Compression(IntEnum):
    ZLIB = 0
    ZSTD = 1


@dataclass(frozen=True, slots=True)
class Table:
    """An L1 table: where it lies in the file, and how many entries it has."""

    offset: int
    entries: int


@dataclass(frozen=True, slots=True)
class Header:
    version: int
    size: int
    """Bytes in the disk."""
    cluster_bits: int
    l1: Table
    snapshots_offset: int
    snapshot_count: int
    compression: Compression
    extended: bool
    """Whether L2 entries have 16 bytes, the second half for 32 subclusters."""
    backing_name: str | None
    backing_format: str | None

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits

    @property
    def entry_size(self) -> int:
        """Bytes in an L2 entry."""
        return 16 if self.extended else 8

    @property
    def l2_span(self) -> int:
        """Bytes of the disk that one L2 table is for."""
        return self.cluster_size // self.entry_size << self.cluster_bits


def read_header(file: ImageFile) -> Header:
    """Raises FormatError for what is no qcow2, is damaged, or needs what is not supported here."""

    def wrong(what: str, hint: str | None = None) -> FormatError:
        return FormatError(f"{file.name} {what}", hint=hint)

    if file.length < 8 or file.read(0, 4, "its header") != MAGIC:
        raise wrong("is no qcow2 image: it does not begin with 'QFI\\xfb'")
    (version,) = struct.unpack(">I", file.read(4, 4, "its header"))
    if version not in (2, 3):
        raise wrong(f"is qcow2 of version {version}; versions 2 and 3 are read here")
    (
        _,
        _,
        backing_offset,
        backing_length,
        cluster_bits,
        size,
        encryption,
        l1_entries,
        l1_offset,
        _,
        _,
        snapshot_count,
        snapshots_offset,
    ) = V2.unpack(file.read(0, V2.size, "its header"))
    incompatible, length = 0, V2.size
    if version == 3:
        incompatible, _, _, refcount_order, length = V3.unpack(file.read(V2.size, V3.size, "its header"))
        if refcount_order > 6:
            raise wrong(f"claims reference counts of 2^{refcount_order} bits; 2^6 is the most")
    if not MIN_CLUSTER_BITS <= cluster_bits <= MAX_CLUSTER_BITS:
        raise wrong(f"claims clusters of 2^{cluster_bits} bytes; 2^9 to 2^21 is what there is")
    cluster_size = 1 << cluster_bits
    if version == 3 and (length < V2.size + V3.size or length % 8 or length > cluster_size):
        raise wrong(f"claims a header of {length} bytes")
    compression = _check_features(file, incompatible, length)
    if encryption:
        raise wrong("is encrypted", hint="decrypt it with `qemu-img convert` first")
    extended = bool(incompatible & _EXTENDED_L2)
    if extended and cluster_bits < MIN_EXTENDED_CLUSTER_BITS:
        raise wrong(f"claims subclusters in clusters of {cluster_size} bytes; that takes 16384 at least")
    if snapshot_count > MAX_SNAPSHOTS:
        raise wrong(f"claims {snapshot_count} internal snapshots; {MAX_SNAPSHOTS} is the most")
    if snapshot_count and snapshots_offset % cluster_size:
        raise wrong(f"has its snapshots at {snapshots_offset:#x}, which is no cluster's start")
    backing_name = None
    if backing_offset:
        if not 0 < backing_length <= MAX_BACKING_NAME or backing_offset + backing_length > cluster_size:
            raise wrong(f"claims a backing file's name of {backing_length} bytes at {backing_offset:#x}")
        name = file.read(backing_offset, backing_length, "the backing file's name")
        if b"\0" in name:
            raise wrong("has a NUL in its backing file's name")
        backing_name = name.decode("utf-8", "surrogateescape")
    header = Header(
        version=version,
        size=size,
        cluster_bits=cluster_bits,
        l1=Table(l1_offset, l1_entries),
        snapshots_offset=snapshots_offset,
        snapshot_count=snapshot_count,
        compression=compression,
        extended=extended,
        backing_name=backing_name,
        backing_format=_backing_format(file, length, backing_offset or min(cluster_size, file.length)),
    )
    check_l1(file, header, header.l1, size)
    return header


def check_l1(file: ImageFile, header: Header, l1: Table, size: int) -> None:
    """Raises FormatError unless an L1 table lies within the file and is enough for a disk of `size` bytes."""
    if l1.entries * 8 > MAX_L1_BYTES:
        raise FormatError(f"{file.name} claims an L1 table of {l1.entries} entries; 4194304 is the most")
    if l1.entries * header.l2_span < size:
        raise FormatError(
            f"{file.name} claims a disk of {size} bytes with an L1 table for {l1.entries * header.l2_span}"
        )
    if l1.entries and l1.offset % header.cluster_size:
        raise FormatError(f"{file.name} has an L1 table at {l1.offset:#x}, which is no cluster's start")
    file.check_range(l1.offset, l1.entries * 8, "an L1 table")


def _check_features(file: ImageFile, incompatible: int, length: int) -> Compression:
    """How clusters are compressed, if nothing that a reader must know is unknown here.

    The dirty bit is let be: it says that reference counts may be wrong, and a reader needs none.
    """
    if unknown := incompatible & ~_KNOWN:
        bits = ", ".join(str(bit) for bit in range(64) if unknown >> bit & 1)
        raise FormatError(f"{file.name} needs features of qcow2 that are not known here (bits {bits})")
    if incompatible & _CORRUPT:
        raise FormatError(
            f"{file.name} is marked as corrupt by who wrote it", hint="try `qemu-img check -r all` on a copy"
        )
    if incompatible & _DATA_FILE:
        raise FormatError(
            f"{file.name} keeps its data in another file, which is not supported",
            hint="`qemu-img convert` makes one file of the two",
        )
    kind = file.read(104, 1, "its header")[0] if length > 104 else 0
    if bool(incompatible & _COMPRESSION) != bool(kind):
        raise FormatError(f"{file.name} contradicts itself about how it is compressed")
    if kind not in (Compression.ZLIB, Compression.ZSTD):
        raise FormatError(f"{file.name} is compressed in a way that is not known here (type {kind})")
    return Compression(kind)


def _backing_format(file: ImageFile, at: int, end: int) -> str | None:
    """The format that the header extensions between `at` and `end` name for the backing file."""
    while at + EXTENSION.size <= end:
        kind, length = EXTENSION.unpack(file.read(at, EXTENSION.size, "a header extension"))
        if not kind:
            break
        at += EXTENSION.size
        if length > end - at:
            raise FormatError(f"{file.name} has a header extension of {length} bytes, beyond its header")
        if kind == BACKING_FORMAT:
            return file.read(at, length, "a header extension").decode("utf-8", "backslashreplace")
        at += (length + 7) & ~7
    return None
