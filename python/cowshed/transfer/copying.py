"""Whole disks in and out of a store, whatever their format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from cowshed.formats.source import PIECE, Sink, Source
from cowshed.store.interface import Image, Store
from cowshed.store.progress import Progress
from cowshed.store.spec import ImageSpec
from cowshed.transfer.ahead import DEPTH, ahead
from cowshed.transfer.scratch import scratch_name

_FIRST_SIZE = 64 << 20
"""What an image of unknown size starts with; doubled whenever it is full."""


def copy_in(
    store: Store,
    spec: ImageSpec,
    source: Source,
    order: int | None,
    progress: Progress | None,
    *,
    features: Sequence[str] | None = None,
) -> None:
    """Make an image of a source. It has its name when it is complete and durable.

    Until then it is called `<name>.importing-…`, and is removed again if anything fails. Raises what the
    source and the store raise.
    """
    scratch = ImageSpec(spec.pool, spec.namespace, scratch_name(spec.image, "importing"))
    size = _FIRST_SIZE if source.size is None else source.size
    store.create(scratch, size, order=order, features=features)
    try:
        size = _fill(store, scratch, source, progress)
        if source.size is None:
            store.resize(scratch, size, allow_shrink=True)
        store.rename(scratch, spec)
    except BaseException:
        store.remove(scratch)
        raise
    if progress:
        progress(size, size)


def _fill(store: Store, scratch: ImageSpec, source: Source, progress: Progress | None) -> int:
    """Copy all data; returns the end of it, or the size where that is known."""
    total = source.size or 0
    end = 0
    room = source.size if source.size is not None else _FIRST_SIZE
    # A source of unknown size is a pipe, whose next piece may never come: nobody may wait for it in a thread.
    pieces = source.pieces(DEPTH) if source.size is None else ahead(source.pieces(DEPTH))
    with closing(pieces), store.open(scratch, cached=False) as image:
        for offset, data in pieces:
            end = offset + len(data)
            while end > room:
                room *= 2
                store.resize(scratch, room)
            image.write(offset, data)
            if progress:
                progress(end, total)
    return end if source.size is None else source.size


def copy_out(
    image: Image, size: int, ranges: Iterable[tuple[int, int]], sink: Sink, progress: Progress | None
) -> None:
    """Write the ranges of an image (offset and length, ascending) to a sink, and finish it."""
    with closing(ahead(_content(image, size, ranges))) as pieces:
        for offset, data in pieces:
            sink.write(offset, data)
            if progress:
                progress(offset + len(data), size)
    sink.finish()
    if progress:
        progress(size, size)


def _content(image: Image, size: int, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, memoryview]]:
    """What the ranges hold, in pieces; each stays as it is until DEPTH - 1 more were taken."""
    buffers = [memoryview(bytearray(PIECE)) for _ in range(DEPTH)]
    turn = 0
    for start, length in ranges:
        end = min(size, start + length)
        for offset in range(start, end, PIECE):
            piece = buffers[turn % DEPTH][: min(PIECE, end - offset)]
            turn += 1
            image.read_into(offset, piece)
            yield offset, piece
