"""Raw images in and out of a store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

from cowshed.errors import AlreadyExists, NotFound
from cowshed.formats.raw import PIECE, RawSink, RawSource
from cowshed.store.interface import Image, Store
from cowshed.store.progress import Progress
from cowshed.store.spec import ImageSpec, as_image
from cowshed.transfer.ahead import DEPTH, ahead
from cowshed.transfer.scratch import scratch_name

_FIRST_SIZE = 64 << 20
"""What an image from a pipe starts with; doubled whenever it is full."""


def import_raw(
    store: Store,
    spec: ImageSpec | str,
    stream: BinaryIO,
    *,
    order: int = 22,
    progress: Progress | None = None,
) -> None:
    """Make an image of a raw one: a file or device from where it stands, or a pipe up to its end.

    Holes and zeros take no space. The image appears under its name when it is complete and durable: until
    then it is called `<name>.importing-…`, and is removed again if the import fails.

    Raises AlreadyExists, NotFound (the pool), IOFailure, NoSpace.
    """
    spec = as_image(spec)
    _check_free(store, spec)
    source = RawSource(stream)
    scratch = ImageSpec(spec.pool, spec.namespace, scratch_name(spec.image, "importing"))
    store.create(scratch, _FIRST_SIZE if source.size is None else source.size, order=order)
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


def _check_free(store: Store, spec: ImageSpec) -> None:
    """To say at once, not after an hour, that the name is taken; the rename at the end decides."""
    try:
        store.stat(spec)
    except NotFound:
        return
    raise AlreadyExists(f"image {str(spec)!r} exists already")


def _fill(store: Store, scratch: ImageSpec, source: RawSource, progress: Progress | None) -> int:
    """Copy all data; returns the end of it, or the size where that is known."""
    total = source.size or 0
    end = 0
    room = source.size if source.size is not None else _FIRST_SIZE
    pieces = source.pieces(DEPTH) if source.size is None else ahead(source.pieces(DEPTH))
    with closing(pieces), store.open(scratch) as image:
        for offset, data in pieces:
            end = offset + len(data)
            while end > room:
                room *= 2
                store.resize(scratch, room)
            image.write(offset, data)
            if progress:
                progress(end, total)
    return end if source.size is None else source.size


def export_raw(image: Image, stream: BinaryIO, *, progress: Progress | None = None) -> None:
    """Write an image, or a snapshot, as a raw one: sparse into an empty file, else every byte of it.

    A file is durable when this returns. Raises NoSpace, Disconnected, IOFailure.
    """
    size = image.size
    sink = RawSink(stream, size)
    with closing(ahead(_data_of(image))) as pieces:
        for offset, data in pieces:
            sink.write(offset, data)
            if progress:
                progress(offset + len(data), size)
    sink.finish()
    if progress:
        progress(size, size)


def _data_of(image: Image) -> Iterator[tuple[int, memoryview]]:
    """What an image has mapped, in pieces; each stays as it is until DEPTH - 1 more were taken."""
    buffers = [memoryview(bytearray(PIECE)) for _ in range(DEPTH)]
    turn = 0
    for extent in image.diff():
        for offset in range(extent.offset, extent.end, PIECE):
            piece = buffers[turn % DEPTH][: min(PIECE, extent.end - offset)]
            turn += 1
            image.read_into(offset, piece)
            yield offset, piece
