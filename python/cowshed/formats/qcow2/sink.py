"""Writing qcow2, version 3: plain, without backing file or snapshots, strictly forwards."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from cowshed.errors import InvalidArgument
from cowshed.formats.qcow2.header import EXTENSION, MAGIC, MAX_L1_BYTES, V2, V3
from cowshed.formats.raw import RawSink

CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
SECTOR = 512
"""Sizes are whole sectors: QEMU would cut off what is behind the last one."""
_ENTRIES = CLUSTER // 8
"""Entries in an L2 table, or in a cluster of any other table of offsets."""
_COUNTS = CLUSTER // 2
"""Reference counts of 16 bits in a cluster."""
_COPIED = 1 << 63
"""In an L1 or L2 entry: what it points to has a reference count of one."""
_HEADER_LENGTH = 112
"""Version 3 with the byte for the compression type, which is zero, and its padding."""


class Qcow2Sink:
    """Where a disk of `size` bytes is written as qcow2; `extents` are all the ranges that will be written.

    They are given beforehand, ascending, as offset and length: so all tables can go before the data, and a
    pipe can take it. Clusters (64 KiB) that no extent touches take no space. The image's size is rounded up
    to a sector. `finish` completes it, and makes a file durable. All raise NoSpace, Disconnected, IOFailure;
    making it also InvalidArgument for a size that qcow2 does not have.
    """

    def __init__(self, stream: BinaryIO, size: int, extents: Iterable[tuple[int, int]]) -> None:
        self._size = -(-size // SECTOR) * SECTOR
        self._l1_entries = -(-self._size // (_ENTRIES * CLUSTER))
        if self._l1_entries * 8 > MAX_L1_BYTES:
            raise InvalidArgument(f"a qcow2 image cannot have {size} bytes", hint="export it raw")
        self._firsts: array[int] = array("Q")
        """The first cluster of each run of clusters with data."""
        self._ends: array[int] = array("Q")
        self._note(extents)
        self._plan()
        self._run = 0
        self._at = self._data_start
        """Where in the file the current run's first cluster is."""
        self._sink = RawSink(stream, self._clusters * CLUSTER)
        self._write_tables()

    def _note(self, extents: Iterable[tuple[int, int]]) -> None:
        for offset, length in extents:
            if not length:
                continue
            first, end = offset >> CLUSTER_BITS, -(-(offset + length) >> CLUSTER_BITS)
            if self._ends and first <= self._ends[-1]:
                self._ends[-1] = max(end, self._ends[-1])
            else:
                self._firsts.append(first)
                self._ends.append(end)

    def _plan(self) -> None:
        """Lay the file out: header, refcount table, refcount blocks, L1 table, L2 tables, data."""
        self._l2_tables = sum(1 for _ in self._l2_numbers())
        l1 = -(-self._l1_entries // _ENTRIES)
        data = sum(end - first for first, end in zip(self._firsts, self._ends, strict=True))
        table = blocks = 0
        while True:  # the counts count themselves too
            self._clusters = 1 + table + blocks + l1 + self._l2_tables + data
            need = -(-self._clusters // _COUNTS)
            if (table, blocks) == (-(-need // _ENTRIES), need):
                break
            table, blocks = -(-need // _ENTRIES), need
        self._table_clusters, self._blocks = table, blocks
        self._l1_start = (1 + table + blocks) * CLUSTER
        self._l2_start = self._l1_start + l1 * CLUSTER
        self._data_start = self._l2_start + self._l2_tables * CLUSTER

    def _l2_numbers(self) -> Iterator[int]:
        """Which L2 tables there are, ascending."""
        due = 0
        for first, end in zip(self._firsts, self._ends, strict=True):
            start = max(due, first // _ENTRIES)
            due = -(-end // _ENTRIES)
            yield from range(start, due)

    def _write_tables(self) -> None:
        blocks = (1 + self._table_clusters) * CLUSTER
        self._sink.write(0, memoryview(self._header()))
        self._sink.write(CLUSTER, _big_endian(array("Q", range(blocks, self._l1_start, CLUSTER))))
        ones = memoryview(b"\0\1" * _COUNTS)
        for block in range(self._blocks):
            counts = min(_COUNTS, self._clusters - block * _COUNTS)
            self._sink.write(blocks + block * CLUSTER, ones[: counts * 2])
        l1 = array("Q", bytes(self._l1_entries * 8))
        for turn, number in enumerate(self._l2_numbers()):
            l1[number] = (self._l2_start + turn * CLUSTER) | _COPIED
        self._sink.write(self._l1_start, _big_endian(l1))
        self._write_l2_tables()

    def _header(self) -> bytes:
        fields = V2.pack(
            MAGIC,
            3,
            0,  # no backing file
            0,
            CLUSTER_BITS,
            self._size,
            0,  # not encrypted
            self._l1_entries,
            self._l1_start,
            CLUSTER,
            self._table_clusters,
            0,  # no snapshots
            0,
        )
        more = V3.pack(0, 0, 0, 4, _HEADER_LENGTH)  # no features; counts of 2^4 bits
        return (fields + more).ljust(_HEADER_LENGTH, b"\0") + EXTENSION.pack(0, 0)

    def _write_l2_tables(self) -> None:
        run, place = 0, self._data_start
        for turn, number in enumerate(self._l2_numbers()):
            start, end = number * _ENTRIES, (number + 1) * _ENTRIES
            table = array("Q", bytes(CLUSTER))
            while run < len(self._firsts) and self._firsts[run] < end:
                first, last = max(start, self._firsts[run]), min(end, self._ends[run])
                stop = place + (last - first) * CLUSTER
                table[first - start : last - start] = array(
                    "Q", range(place | _COPIED, stop | _COPIED, CLUSTER)
                )
                place = stop
                if self._ends[run] > end:
                    break
                run += 1
            self._sink.write(self._l2_start + turn * CLUSTER, _big_endian(table))

    def extents(self) -> Iterator[tuple[int, int]]:
        """The ranges of the disk that have clusters: offset and length, ascending."""
        for first, end in zip(self._firsts, self._ends, strict=True):
            offset = first << CLUSTER_BITS
            yield offset, min(self._size, end << CLUSTER_BITS) - offset

    def write(self, offset: int, data: memoryview) -> None:
        """Take a piece; offsets ascend, within the extents that were announced."""
        while data:
            cluster = offset >> CLUSTER_BITS
            while self._run < len(self._ends) and self._ends[self._run] <= cluster:
                self._at += (self._ends[self._run] - self._firsts[self._run]) * CLUSTER
                self._run += 1
            if self._run == len(self._ends) or cluster < self._firsts[self._run]:
                raise ValueError(f"offset {offset} is in no extent that was announced")
            count = min(len(data), self._ends[self._run] * CLUSTER - offset)
            self._sink.write(self._at + offset - self._firsts[self._run] * CLUSTER, data[:count])
            offset, data = offset + count, data[count:]

    def finish(self) -> None:
        """Complete it, and make a file durable."""
        self._sink.finish()


def _big_endian(numbers: array[int]) -> memoryview:
    if sys.byteorder == "little":
        numbers.byteswap()
    return memoryview(numbers).cast("B")
