"""Internal snapshots: other disks in the same file, each with an L1 table of its own."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from cowshed.errors import FormatError, NotFound
from cowshed.formats.qcow2.file import ImageFile
from cowshed.formats.qcow2.header import Header, Table, check_l1, read_header

_ENTRY = struct.Struct(">QIHHIIQII")
_MAX_EXTRA = 1024
"""Bytes of extra data in an entry that QEMU takes."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An internal snapshot."""

    id: str
    name: str
    size: int
    """Bytes in the disk as it was."""
    date: float
    """When it was made: seconds since 1970 (UTC)."""
    vm_state: int
    """Bytes of the machine's memory that were saved with it."""
    table: Table


def snapshots_of(stream: BinaryIO) -> list[Snapshot]:
    """The internal snapshots of a qcow2 file, whatever is behind it. Raises FormatError, IOFailure."""
    file = ImageFile(stream)
    return read_snapshots(file, read_header(file))


def read_snapshots(file: ImageFile, header: Header) -> list[Snapshot]:
    """All of them, in the order of the file; their tables are not looked at. Raises FormatError."""
    found = []
    at = header.snapshots_offset
    for _ in range(header.snapshot_count):
        fixed = file.read(at, _ENTRY.size, "its list of snapshots")
        l1_offset, l1_entries, id_length, name_length, seconds, nanos, _, state, extra_length = _ENTRY.unpack(
            fixed
        )
        if extra_length > _MAX_EXTRA:
            raise FormatError(f"{file.name} has a snapshot with {extra_length} bytes of extra data")
        length = extra_length + id_length + name_length
        rest = file.read(at + _ENTRY.size, length, "its list of snapshots")
        # A list without the size is as old as images that could not be resized.
        size = int.from_bytes(rest[8:16], "big") if extra_length >= 16 else header.size
        if extra_length >= 8:
            state = int.from_bytes(rest[:8], "big")
        id_end = extra_length + id_length
        found.append(
            Snapshot(
                id=rest[extra_length:id_end].decode("utf-8", "backslashreplace"),
                name=rest[id_end:].decode("utf-8", "backslashreplace"),
                size=size,
                date=seconds + nanos / 1e9,
                vm_state=state,
                table=Table(l1_offset, l1_entries),
            )
        )
        at += (_ENTRY.size + length + 7) & ~7
    return found


def pick(file: ImageFile, header: Header, wanted: str) -> Snapshot:
    """The snapshot with that id or, where none has it, that name. Raises NotFound, FormatError."""
    snapshots = read_snapshots(file, header)
    for found in [s for s in snapshots if s.id == wanted] + [s for s in snapshots if s.name == wanted]:
        check_l1(file, header, found.table, found.size)
        return found
    names = ", ".join(repr(s.name) for s in snapshots[:10]) + (" …" if len(snapshots) > 10 else "")
    raise NotFound(
        f"{file.name} has no internal snapshot {wanted!r}", hint=f"it has {names}" if names else "it has none"
    )
