"""The tables of one disk in a qcow2 file: which bytes of the file each part of the disk is."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator

from cowshed.errors import FormatError
from cowshed.formats.qcow2.file import Budget, ImageFile
from cowshed.formats.qcow2.header import OFFSET, Header, Table

UNALLOCATED, ZERO, DATA, COMPRESSED = range(4)
"""What a run is: the backing file's business, zeros, plain bytes, one compressed cluster or a part of it."""

Run = tuple[int, int, int, int]
"""Offset in the disk, length, kind, and where it is: DATA's offset in the file, COMPRESSED's L2 entry."""

_WINDOW = 1 << 16
"""Bytes of a table that are held at once."""
_COMPRESSED_FLAG = 1 << 62
_ZERO_FLAG = 1
_SUBCLUSTERS = 32
_ALL = (1 << _SUBCLUSTERS) - 1


class Tables:
    """One walk, front to back, through an L1 table and its L2 tables: a window of each is held.

    The disk may have any size up to what the L1 table has entries for.
    """

    def __init__(self, file: ImageFile, header: Header, l1: Table, size: int, budget: Budget) -> None:
        self._file = file
        self._header = header
        self._l1 = l1
        self._size = size
        self._budget = budget
        self._cluster = header.cluster_size
        self._span = min(self._cluster, _WINDOW) // header.entry_size << header.cluster_bits
        self._l1_window = -1
        self._l1_part: array[int] = array("Q")
        self._window = -1
        self._starts: list[int] = []
        self._runs: list[Run] = []

    def runs(self, start: int, end: int) -> Iterator[Run]:
        """Runs that cover a range of the disk, ascending, without gaps. Raises FormatError, IOFailure."""
        at = start
        while at < end:
            index = at // self._header.l2_span
            l2 = self._l1_entry(index)
            if not l2:
                stop = min(end, self._next_l2(index) * self._header.l2_span)
                yield at, stop - at, UNALLOCATED, 0
                at = stop
                continue
            window = at // self._span
            if window != self._window:
                self._load(window, l2)
            turn = bisect_right(self._starts, at) - 1
            while at < end and turn < len(self._runs):
                offset, length, kind, where = self._runs[turn]
                stop = min(end, offset + length)
                yield at, stop - at, kind, where + at - offset if kind == DATA else where
                at = stop
                turn += 1

    def _l1_entry(self, index: int) -> int:
        """Where the L2 table of that number begins in the file; 0: there is none."""
        window, place = divmod(index, _WINDOW // 8)
        if window != self._l1_window:
            offset = self._l1.offset + window * _WINDOW
            length = min(_WINDOW, self._l1.entries * 8 - window * _WINDOW)
            self._l1_part = self._numbers(offset, length, "an L1 table")
            self._l1_window = window
        l2 = self._l1_part[place] & OFFSET
        if l2 % self._cluster:
            raise FormatError(f"{self._file.name} has an L2 table at {l2:#x}, which is no cluster's start")
        return l2

    def _next_l2(self, index: int) -> int:
        """The number of the first L2 table that is there, behind `index`; where none is, the table's end."""
        place = index % (_WINDOW // 8) + 1
        while place < len(self._l1_part) and not self._l1_part[place] & OFFSET:
            place += 1
        return index - index % (_WINDOW // 8) + place

    def _numbers(self, offset: int, length: int, what: str) -> array[int]:
        self._budget.spend(length)
        numbers = array("Q")
        numbers.frombytes(self._file.read(offset, length, what))
        if sys.byteorder == "little":
            numbers.byteswap()
        return numbers

    def _load(self, window: int, l2: int) -> None:
        """Read one window of an L2 table, as far as the disk goes."""
        header = self._header
        start = window * self._span
        within = start % header.l2_span >> header.cluster_bits
        count = -(-min(self._span, self._size - start) >> header.cluster_bits)
        entries = self._numbers(l2 + within * header.entry_size, count * header.entry_size, "an L2 table")
        self._runs = self._split_runs(entries, start) if header.extended else self._plain_runs(entries, start)
        self._starts = [run[0] for run in self._runs]
        self._window = window

    def _plain_runs(self, entries: array[int], start: int) -> list[Run]:
        """Entries of 8 bytes as runs, neighbours of one kind together."""
        runs: list[Run] = []
        cluster, bits = self._cluster, self._header.cluster_bits
        turn, count = 0, len(entries)
        while turn < count:
            first, entry = turn, entries[turn]
            turn += 1
            offset = entry & OFFSET
            if entry & _COMPRESSED_FLAG:
                kind, offset = COMPRESSED, entry
            elif entry & _ZERO_FLAG:
                kind = self._zero(offset)
                while turn < count and entries[turn] & (_COMPRESSED_FLAG | _ZERO_FLAG) == _ZERO_FLAG:
                    self._zero(entries[turn] & OFFSET)
                    turn += 1
            elif offset:
                kind = DATA
                due = entry + cluster
                while turn < count and entries[turn] == due:
                    due += cluster
                    turn += 1
                self._check_data(offset, start + (first << bits), (turn - first) << bits)
            else:
                kind = UNALLOCATED
                while turn < count and entries[turn] == entry:
                    turn += 1
            runs.append((start + (first << bits), (turn - first) << bits, kind, offset))
        return runs

    def _zero(self, offset: int) -> int:
        if self._header.version < 3:
            raise FormatError(f"{self._file.name} has a cluster of zeros, which its version 2 does not know")
        if offset % self._cluster:
            raise self._misplaced(offset)
        return ZERO

    def _check_data(self, offset: int, at: int, length: int) -> None:
        """`at`: where in the disk it is; what lies behind the disk's end need not be in the file."""
        if offset % self._cluster:
            raise self._misplaced(offset)
        self._file.check_range(offset, min(length, self._size - at), "data")

    def _misplaced(self, offset: int) -> FormatError:
        return FormatError(f"{self._file.name} has a cluster at {offset:#x}, which is no cluster's start")

    def _split_runs(self, entries: array[int], start: int) -> list[Run]:
        """Entries of 16 bytes as runs: each has 32 subclusters with two bits each."""
        runs: list[Run] = []

        def add(at: int, length: int, kind: int, where: int) -> None:
            if runs and kind != COMPRESSED:
                offset, before, last, place = runs[-1]
                if last == kind and (kind != DATA or place + before == where):
                    runs[-1] = (offset, before + length, kind, place)
                    return
            runs.append((at, length, kind, where))

        cluster = self._cluster
        part = cluster // _SUBCLUSTERS
        for at, entry, bitmap in zip(
            range(start, start + len(entries) // 2 * cluster, cluster),
            entries[::2],
            entries[1::2],
            strict=True,
        ):
            if entry & _COMPRESSED_FLAG:
                add(at, cluster, COMPRESSED, entry)
                continue
            offset, allocated, zero = entry & OFFSET, bitmap & _ALL, bitmap >> _SUBCLUSTERS
            if allocated & zero or (allocated and not offset):
                raise FormatError(f"{self._file.name} has subclusters that contradict themselves")
            if allocated:
                # QEMU writes no more of a new cluster than what is used of it.
                self._check_data(offset, at, allocated.bit_length() * part)
            if allocated == _ALL:
                add(at, cluster, DATA, offset)
            elif zero == _ALL:
                add(at, cluster, ZERO, 0)
            elif not bitmap:
                add(at, cluster, UNALLOCATED, 0)
            else:
                for turn in range(_SUBCLUSTERS):
                    if allocated >> turn & 1:
                        add(at + turn * part, part, DATA, offset + turn * part)
                    else:
                        add(at + turn * part, part, ZERO if zero >> turn & 1 else UNALLOCATED, 0)
        return runs


def compressed_range(entry: int, cluster_bits: int) -> tuple[int, int]:
    """Where the data of a compressed cluster may lie: offset, and length up to the end of its last sector."""
    bits = 62 - (cluster_bits - 8)
    offset = entry & ((1 << bits) - 1)
    sectors = (entry & (_COMPRESSED_FLAG - 1)) >> bits
    return offset, (sectors + 1) * 512 - offset % 512
