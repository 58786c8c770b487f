"""Differential backups in and out of a store, in rbd diff v1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

from cowshed.errors import AlreadyExists, InvalidArgument
from cowshed.formats.diff_v1 import PIECE, Data, Header, Reader, Writer, Zeros
from cowshed.formats.streams import failed
from cowshed.store.interface import Image, Store
from cowshed.store.progress import Progress
from cowshed.store.records import Extent
from cowshed.store.spec import ImageSpec, SnapSpec, as_image
from cowshed.transfer.ahead import DEPTH, ahead
from cowshed.transfer.scratch import scratch_name


def export_diff(
    image: Image, from_snapshot: str | None, stream: BinaryIO, *, progress: Progress | None = None
) -> None:
    """Write what changed in an image (or up to a snapshot) since `from_snapshot`; None: since it was empty.

    A file is durable when this returns. Progress counts bytes of the image. Raises NotFound (the start
    snapshot), InvalidArgument (it is newer), NoSpace, Disconnected, IOFailure.
    """
    size = image.size
    extents = image.diff(from_snapshot)
    end_snapshot = image.spec.snapshot if isinstance(image.spec, SnapSpec) else None
    writer = Writer(stream, Header(from_snapshot, end_snapshot, size))
    with closing(ahead(_content(image, extents))) as pieces:
        for extent, data in pieces:
            if data is None:
                writer.zeros(extent.offset, extent.length)
            else:
                writer.data(extent.offset, data)
            if progress:
                progress(extent.end, size)
    writer.end()
    _settle(stream)
    if progress:
        progress(size, size)


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


def _settle(stream: BinaryIO) -> None:
    """Bring it to the disk where there is one behind it."""
    try:
        stream.flush()
        os.fsync(stream.fileno())
    except OSError as error:
        import errno
        import io

        # A pipe or terminal cannot be synced, and BytesIO has nothing to sync.
        if not isinstance(error, io.UnsupportedOperation) and error.errno not in (errno.EINVAL, errno.EROFS):
            raise failed(error, "writing", stream) from None


def import_diff(
    store: Store, spec: ImageSpec | str, stream: BinaryIO, *, progress: Progress | None = None
) -> None:
    """Apply a diff to an image: its content, its size, and the end snapshot that it names.

    As with RBD, the start snapshot must exist, the end snapshot must not, and it is the head that is
    changed: it should still be as the start snapshot is. Unlike RBD, a stream that breaks off leaves the
    image as it was: a snapshot `.importing-diff-…`, which costs nothing, is taken before and rolled back
    to on failure. It is gone when this returns; after a crash of the machine it is what to roll back to.

    Progress counts bytes of the stream (of a pipe, the total is unknown). Raises InvalidArgument (no start
    snapshot), AlreadyExists (the end snapshot), FormatError, NotFound, NoSpace, IOFailure.
    """
    spec = as_image(spec)
    reader = Reader(stream)  # type: ignore[arg-type]  # every binary stream has readinto
    header = reader.header
    _check(store, spec, header)
    total = _length(stream)
    before = spec.at(scratch_name("", "importing-diff"))
    store.create_snapshot(before)
    try:
        _apply(store, spec, reader, total, progress)
        if header.to_snapshot is not None:
            store.create_snapshot(spec.at(header.to_snapshot))
    except BaseException:
        store.rollback(before)
        store.remove_snapshot(before)
        raise
    store.remove_snapshot(before)
    if progress:
        progress(reader.consumed, reader.consumed)


def _check(store: Store, spec: ImageSpec, header: Header) -> None:
    names = {snapshot.name for snapshot in store.snapshots(spec)}
    if header.from_snapshot is not None and header.from_snapshot not in names:
        raise InvalidArgument(
            f"the diff starts from snapshot {header.from_snapshot!r}, which {str(spec)!r} does not have",
            hint="import the diffs before it first",
        )
    if header.to_snapshot is not None:
        if header.to_snapshot in names:
            raise AlreadyExists(
                f"the diff ends at snapshot {header.to_snapshot!r}, which {str(spec)!r} has already"
            )
        spec.at(header.to_snapshot)  # raises InvalidArgument for what cannot be a snapshot's name


def _apply(store: Store, spec: ImageSpec, reader: Reader, total: int, progress: Progress | None) -> None:
    store.resize(spec, reader.header.size, allow_shrink=True)
    with (
        closing(ahead(reader.records()) if total else reader.records()) as records,
        store.open(spec) as image,
    ):
        for record in records:
            match record:
                case Data():
                    image.write(record.offset, record.data)
                case Zeros():
                    image.write_zeroes(record.offset, record.length)
            if progress:
                progress(min(reader.consumed, total) if total else reader.consumed, total)
    reader.expect_end()


def _length(stream: BinaryIO) -> int:
    """Bytes in a file from its start; 0 for a pipe."""
    try:
        if not stream.seekable():
            return 0
        at = stream.tell()
        end = stream.seek(0, os.SEEK_END)
        stream.seek(at)
        return end
    except OSError as error:
        raise failed(error, "reading", stream) from None
