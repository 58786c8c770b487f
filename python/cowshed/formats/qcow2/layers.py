"""The files of a chain, each walked front to back: what they map, and its content."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cowshed.errors import FormatError
from cowshed.formats.qcow2.compressed import decompressor
from cowshed.formats.qcow2.file import Budget, ImageFile
from cowshed.formats.qcow2.header import Header, Table
from cowshed.formats.qcow2.tables import COMPRESSED, DATA, Run, Tables, compressed_range

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class Layer(Protocol):
    """One file of a chain."""

    file: ImageFile
    size: int
    """Bytes in its disk; what is behind them reads as zeros."""

    def runs(self, start: int, end: int) -> Iterator[Run]:
        """As `Tables.runs`; the ranges asked for ascend."""

    def read(self, run: Run, skip: int, view: memoryview) -> None:
        """Fill the view with a run's content, from `skip` bytes behind its start. FormatError, IOFailure."""

    def packed(self, run: Run, skip: int, view: memoryview) -> Packed | None:
        """What to give to an `Unpacker` instead of calling `read`; None: call `read`."""


class RawLayer:
    """A raw backing file."""

    def __init__(self, file: ImageFile) -> None:
        file.will_be_read_in_order()
        self.file = file
        self.size = file.length

    def runs(self, start: int, end: int) -> Iterator[Run]:
        if start < end:
            yield start, end - start, DATA, start

    def read(self, run: Run, skip: int, view: memoryview) -> None:
        self.file.read_into(run[3] + skip, view, "data")

    def packed(self, run: Run, skip: int, view: memoryview) -> None:
        return None


class Qcow2Layer:
    """A disk in a qcow2 file: the active one, or that of an internal snapshot."""

    def __init__(self, file: ImageFile, header: Header, table: Table, size: int) -> None:
        file.will_be_read_in_order()
        self.file = file
        self.size = size
        self._cluster_bits = header.cluster_bits
        self._cluster = header.cluster_size
        self._budget = Budget(file)
        self._tables = Tables(file, header, table, size, self._budget)
        self._decompress = decompressor(header.compression, file.name)
        self._open_entry: tuple[int, int] | None = None
        """Which compressed cluster `_content` is of: where it is in the disk, and its entry."""
        self._content = b""

    def runs(self, start: int, end: int) -> Iterator[Run]:
        for run in self._tables.runs(start, end):
            if run[2] == DATA:
                self._budget.spend(run[1])
            yield run

    def read(self, run: Run, skip: int, view: memoryview) -> None:
        at, _, kind, where = run
        if kind == DATA:
            self.file.read_into(where + skip, view, "data")
            return
        within = (at + skip) & (self._cluster - 1)
        content = self._cluster_at(at + skip - within, where)
        view[:] = memoryview(content)[within : within + len(view)]

    def packed(self, run: Run, skip: int, view: memoryview) -> Packed | None:
        """The work that `read` would be, if it is to unpack a whole cluster and may be done in any thread."""
        at, _, kind, where = run
        whole = len(view) == self._cluster and not (at + skip) & (self._cluster - 1)
        return Packed(self, where, view) if kind == COMPRESSED and whole and self.file.any_thread else None

    def spend(self, used: int) -> None:
        """Account for compressed bytes. Raises FormatError."""
        self._budget.spend(used)

    def unpack(self, entry: int) -> tuple[bytes, int]:
        """What a compressed cluster holds, and how many bytes of the file it took. FormatError, IOFailure."""
        start, length = compressed_range(entry, self._cluster_bits)
        if start >= self.file.length:
            raise FormatError(f"{self.file.name} has compressed data at {start:#x}, beyond its end")
        data = self.file.read(start, min(length, self.file.length - start), "compressed data")
        return self._decompress(memoryview(data), self._cluster)

    def _cluster_at(self, offset: int, entry: int) -> bytes:
        """What a compressed cluster holds; the last one is kept for who takes it in parts."""
        if self._open_entry != (offset, entry):
            self._content, used = self.unpack(entry)
            self._budget.spend(used)
            self._open_entry = offset, entry
        return self._content


class Packed(NamedTuple):
    """A compressed cluster, and where its content goes."""

    layer: Qcow2Layer
    entry: int
    view: memoryview


class Unpacker:
    """Unpacks clusters in several threads; zlib and zstd let other threads work meanwhile."""

    THREADS = 4
    """At most: as many as QEMU uses for it."""

    def __init__(self) -> None:
        self._waiting: list[Packed] = []
        self._threads = min(self.THREADS, os.cpu_count() or 1)
        self._pool: ThreadPoolExecutor | None = None

    def add(self, work: Packed) -> None:
        self._waiting.append(work)

    def finish(self) -> None:
        """Return when all that was added is unpacked. Raises FormatError, IOFailure."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        if self._threads == 1 or len(waiting) == 1:
            spent = _unpack_all(waiting)
        else:
            if self._pool is None:
                from concurrent.futures import ThreadPoolExecutor

                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="cowshed-unpack")
            shares = (waiting[turn :: self._threads] for turn in range(self._threads))
            spent = [used for part in self._pool.map(_unpack_all, shares) for used in part]
        for layer, used in spent:
            layer.spend(used)

    def close(self) -> None:
        """End the threads, which are idle or about to be."""
        if self._pool is not None:
            self._pool.shutdown()


def _unpack_all(share: list[Packed]) -> list[tuple[Qcow2Layer, int]]:
    """Unpack some clusters; what each took of its file."""
    spent = []
    for layer, entry, view in share:
        content, used = layer.unpack(entry)
        view[:] = content
        spent.append((layer, used))
    return spent
