"""The records of diffs, out of an image and into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from cowshed.formats.diff import PIECE, Data, Reader, Writer, Zeros
from cowshed.store.image import Image
from cowshed.store.images import Images
from cowshed.store.records import Extent
from cowshed.store.snapshots import Snapshots
from cowshed.store.spec import ImageSpec, SnapSpec
from cowshed.transfer.ahead import DEPTH, ahead


def write_records(
    image: Image, extents: Iterator[Extent], writer: Writer, reached: Callable[[int], None]
) -> None:
    """Write extents of an image with their data, and the end record; `reached` is told offsets of the image.

    Raises NoSpace, Disconnected, IOFailure.
    """
    with closing(ahead(_content(image, extents))) as pieces:
        for extent, data in pieces:
            if data is None:
                writer.zeros(extent.offset, extent.length)
            else:
                writer.data(extent.offset, data)
            reached(extent.end)
    writer.end()


def _content(image: Image, extents: Iterator[Extent]) -> Iterator[tuple[Extent, memoryview | None]]:
    """Extents of PIECE at most with their data (None: zeros), which stays until DEPTH - 1 more were taken."""
    buffers = [memoryview(bytearray(PIECE)) for _ in range(DEPTH)]
    turn = 0
    for extent in extents:
        if not extent.exists:
            yield extent, None
            continue
        for offset in range(extent.offset, extent.end, PIECE):
            piece = Extent(offset, min(PIECE, extent.end - offset), True)
            buffer = buffers[turn % DEPTH][: piece.length]
            turn += 1
            image.read_into(offset, buffer)
            yield piece, buffer


def apply_records(
    store: Images, spec: ImageSpec, reader: Reader, *, pipe: bool, after_each: Callable[[], None]
) -> None:
    """Give an image the size and the content of a diff, up to its end record.

    What comes from no pipe is read ahead. Raises FormatError, NoSpace, IOFailure.
    """
    store.resize(spec, reader.header.size, allow_shrink=True)
    with (
        closing(reader.records() if pipe else ahead(reader.records())) as records,
        store.open(spec, cached=False) as image,
    ):
        for record in records:
            match record:
                case Data():
                    image.write(record.offset, record.data)
                case Zeros():
                    image.write_zeroes(record.offset, record.length)
            after_each()


def take_snapshot(store: Snapshots, spec: SnapSpec, protected: bool) -> None:
    """Take a snapshot, protected or not, or none at all. Raises AlreadyExists, NoSpace, IOFailure."""
    store.create_snapshot(spec)
    if protected:
        try:
            store.protect_snapshot(spec)
        except BaseException:
            store.remove_snapshot(spec)
            raise
