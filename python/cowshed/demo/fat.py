"""A FAT16 file system with files in it, written by hand, for machines without mkfs.

Made so that clusters are 4 KiB and lie on 4 KiB borders. Only what the demo needs: short names, one
directory below the root, every file in one piece.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import BinaryIO

SECTOR = 512
CLUSTER = 4096
RESERVED = 8
ROOT_ENTRIES = 512
END_OF_CHAIN = 0xFFFF
DATE = (2024 - 1980) << 9 | 1 << 5 | 1

ATTRIBUTE_LABEL, ATTRIBUTE_DIRECTORY, ATTRIBUTE_FILE = 0x08, 0x10, 0x20


def write_fat16(out: BinaryIO, size: int, directory: str, files: Mapping[str, bytes]) -> None:
    """Write a file system of `size` bytes to an empty seekable file, with `files` in one directory.

    Names are 8.3 names in capitals (`PART0001.BIN`). `size` is a multiple of 4 KiB from 32 MiB to 256 MiB.
    """
    sectors = size // SECTOR
    # One table entry of two bytes per cluster, filled up to whole clusters so that the data stay aligned.
    fat_sectors = -(-(sectors // 8 * 2) // CLUSTER) * 8
    root_sectors = ROOT_ENTRIES * 32 // SECTOR
    data_start = RESERVED + 2 * fat_sectors + root_sectors

    fat = [0xFFF8, END_OF_CHAIN]
    contents: list[bytes] = []

    def store(content: bytes) -> int:
        """Put content into the next free clusters; returns the first, 0 for nothing."""
        count = -(-len(content) // CLUSTER)
        if not count:
            return 0
        first = len(fat)
        fat.extend([*range(first + 1, first + count), END_OF_CHAIN])
        contents.append(content.ljust(count * CLUSTER, b"\0"))
        return first

    entries = [_entry(name, ATTRIBUTE_FILE, store(content), len(content)) for name, content in files.items()]
    below = 2 * 32 + 32 * len(entries)
    own = len(fat)
    listing = [_entry(".", ATTRIBUTE_DIRECTORY, own), _entry("..", ATTRIBUTE_DIRECTORY, 0), *entries]
    store(b"".join(listing).ljust(below, b"\0"))
    root = _entry("COWSHED", ATTRIBUTE_LABEL, 0) + _entry(directory, ATTRIBUTE_DIRECTORY, own)

    table = struct.pack(f"<{len(fat)}H", *fat).ljust(fat_sectors * SECTOR, b"\0")
    out.truncate(size)
    out.write(_boot_sector(sectors, fat_sectors))
    out.seek(RESERVED * SECTOR)
    out.write(table * 2)
    out.write(root)
    out.seek(data_start * SECTOR)
    for content in contents:
        out.write(content)


def _boot_sector(sectors: int, fat_sectors: int) -> bytes:
    head = struct.pack(
        "<3s8sHBHBHHBHHHII",
        b"\xeb\x3c\x90",
        b"COWSHED ",
        SECTOR,
        CLUSTER // SECTOR,
        RESERVED,
        2,
        ROOT_ENTRIES,
        0,
        0xF8,
        fat_sectors,
        32,
        64,
        0,
        sectors,
    )
    tail = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 0xC0375BED, b"COWSHED    ", b"FAT16   ")
    return (head + tail).ljust(SECTOR - 2, b"\0") + b"\x55\xaa"


def _entry(name: str, attributes: int, cluster: int, size: int = 0) -> bytes:
    if name.startswith("."):
        stem, extension = name, ""
    else:
        stem, _, extension = name.partition(".")
    return struct.pack(
        "<8s3sB10xHHHI",
        stem.encode().ljust(8),
        extension.encode().ljust(3),
        attributes,
        0,
        DATE,
        cluster,
        size,
    )
