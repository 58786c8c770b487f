"""A qcow2 image as a disk to read, with all that is behind it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from types import TracebackType
from typing import BinaryIO, Self

from cowshed.formats.qcow2.backing import Chain
from cowshed.formats.qcow2.file import ImageFile
from cowshed.formats.qcow2.header import Header, Table, read_header
from cowshed.formats.qcow2.layers import Layer, Qcow2Layer, RawLayer, Unpacker
from cowshed.formats.qcow2.snapshots import Snapshot, pick, read_snapshots
from cowshed.formats.qcow2.tables import DATA, UNALLOCATED, ZERO, Run
from cowshed.formats.source import PIECE


class Qcow2Source:
    """A qcow2 image to read, or one of its internal snapshots: a file from where it stands.

    Backing files are followed when `backing` is true, and then only within the folder of the file that
    names them, unless `allow_backing_outside`. What is opened for that is closed with this; the stream
    itself is the caller's.

    Raises FormatError, NotFound (the snapshot, a backing file), InvalidArgument (a pipe), IOFailure.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        snapshot: str | None = None,
        backing: bool = True,
        allow_backing_outside: bool = False,
    ) -> None:
        self._file = ImageFile(stream)
        self._header = read_header(self._file)
        self._top: Table = self._header.l1
        self.size: int = self._header.size
        if snapshot is not None:
            picked = pick(self._file, self._header, snapshot)
            self._top, self.size = picked.table, picked.size
        self._chain = Chain(anywhere=allow_backing_outside)
        self._below: list[tuple[ImageFile, Header | None]] = []
        try:
            self._open_below(backing)
        except BaseException:
            self.close()
            raise

    def _open_below(self, backing: bool) -> None:
        self._chain.add_top(self._file)
        file, header = self._file, self._header
        while header.backing_name is not None:
            if not backing:
                raise self._chain.unwanted(file, header)
            file, kind = self._chain.below(file, header)
            if kind == "raw":
                self._below.append((file, None))
                return
            header = read_header(file)
            self._below.append((file, header))

    def close(self) -> None:
        """Close the backing files."""
        self._chain.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def snapshots(self) -> list[Snapshot]:
        """The internal snapshots of the image itself. Raises FormatError, IOFailure."""
        return read_snapshots(self._file, self._header)

    def pieces(self, ring: int) -> Generator[tuple[int, memoryview], None, None]:
        """Offset and content of all that is data, ascending, in pieces of PIECE at most; zeros are left out.

        A piece stays as it is until `ring - 1` more were taken. Raises FormatError, IOFailure.
        """
        buffers = [memoryview(bytearray(PIECE)) for _ in range(ring)]
        turn = start = filled = 0
        with closing(Unpacker()) as unpacker:
            for layer, run in _joined(_found(self._layers(), 0, 0, self.size)):
                at, length, _, _ = run
                done = 0
                while done < length:
                    if filled and (at + done != start + filled or filled == PIECE):
                        unpacker.finish()
                        yield start, buffers[turn % ring][:filled]
                        turn += 1
                        filled = 0
                    if not filled:
                        start = at + done
                    count = min(length - done, PIECE - filled)
                    view = buffers[turn % ring][filled : filled + count]
                    if work := layer.packed(run, done, view):
                        unpacker.add(work)
                    else:
                        layer.read(run, done, view)
                    filled += count
                    done += count
            if filled:
                unpacker.finish()
                yield start, buffers[turn % ring][:filled]

    def _layers(self) -> list[Layer]:
        """The chain, made anew for one walk."""
        layers: list[Layer] = [Qcow2Layer(self._file, self._header, self._top, self.size)]
        for file, header in self._below:
            if header is None:
                layers.append(RawLayer(file))
            else:
                layers.append(Qcow2Layer(file, header, header.l1, header.size))
        return layers


def _found(layers: list[Layer], level: int, start: int, end: int) -> Iterator[tuple[Layer, Run]]:
    """What has content in a range of the disk, from the first layer that has it; the rest is zeros."""
    layer = layers[level]
    for run in layer.runs(start, min(end, layer.size)):
        offset, length, kind, _ = run
        if kind == UNALLOCATED:
            if level + 1 < len(layers):
                yield from _found(layers, level + 1, offset, offset + length)
        elif kind != ZERO:
            yield layer, run


def _joined(found: Iterator[tuple[Layer, Run]]) -> Iterator[tuple[Layer, Run]]:
    """Plain data that goes on both in the disk and in the file as one run; holes of the file left out."""
    with closing(_merged(found)) as runs:
        for layer, run in runs:
            at, length, kind, where = run
            if kind != DATA or not layer.file.has_holes:
                yield layer, run
                continue
            for place, count in layer.file.data_ranges(where, length):
                yield layer, (at + place - where, count, kind, place)


def _merged(found: Iterator[tuple[Layer, Run]]) -> Generator[tuple[Layer, Run], None, None]:
    held: tuple[Layer, Run] | None = None
    for layer, run in found:
        if held is not None:
            at, length, kind, where = held[1]
            if (
                held[0] is layer
                and kind == run[2] == DATA
                and at + length == run[0]
                and where + length == run[3]
            ):
                held = layer, (at, length + run[1], DATA, where)
                continue
            yield held
        held = layer, run
    if held is not None:
        yield held
