"""Differential backups in and out of a store, and merged: rbd's diffs."""

from __future__ import annotations

from typing import BinaryIO

from cowshed.errors import AlreadyExists, InvalidArgument
from cowshed.formats.diff import Data, Header, Reader, Writer
from cowshed.formats.merge import merged, merged_header
from cowshed.formats.streams import length_of, settle
from cowshed.store.image import Image
from cowshed.store.interface import Store
from cowshed.store.progress import Progress
from cowshed.store.spec import ImageSpec, SnapSpec, as_image
from cowshed.transfer.records import apply_records, take_snapshot, write_records
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

    def reached(offset: int) -> None:
        if progress:
            progress(offset, size)

    write_records(image, extents, writer, reached)
    settle(stream)
    reached(size)


def import_diff(
    store: Store, spec: ImageSpec | str, stream: BinaryIO, *, progress: Progress | None = None
) -> None:
    """Apply a diff of version 1 or 2 to an image: its content, its size, and the end snapshot it names.

    As with RBD, the start snapshot must exist, the end snapshot must not, and it is the head that is
    changed: it should still be as the start snapshot is. Unlike RBD, a stream that breaks off leaves the
    image as it was: a snapshot `.importing-diff-…`, which costs nothing, is taken before and rolled back
    to on failure. It is gone when this returns; after a crash of the machine it is what to roll back to.

    Progress counts bytes of the stream (of a pipe, the total is unknown). Raises InvalidArgument (no start
    snapshot), AlreadyExists (the end snapshot), FormatError, NotFound, NoSpace, IOFailure.
    """
    spec = as_image(spec)
    total = length_of(stream)
    reader = Reader(stream)  # type: ignore[arg-type]  # every binary stream has readinto
    header = reader.header
    _check(store, spec, header)
    before = spec.at(scratch_name("", "importing-diff"))
    store.create_snapshot(before)

    def read_on() -> None:
        if progress:
            progress(min(reader.consumed, total) if total else reader.consumed, total)

    try:
        apply_records(store, spec, reader, pipe=not total, after_each=read_on)
        reader.expect_end()
        if header.to_snapshot is not None:
            take_snapshot(store, spec.at(header.to_snapshot), header.protected)
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


def merge_diff(
    first: BinaryIO, second: BinaryIO, stream: BinaryIO, *, progress: Progress | None = None
) -> None:
    """Write, as a diff of version 1, what two diffs do one behind the other, as `rbd merge-diff` does.

    Both are read once, from start to end, so that both may be pipes. A file is durable when this returns.
    Progress counts bytes of both (of a pipe, the total is unknown). Raises FormatError, also for records that
    do not ascend; InvalidArgument if the second does not start where the first ends; NoSpace, Disconnected,
    IOFailure.
    """
    lengths = length_of(first), length_of(second)
    total = sum(lengths) if all(lengths) else 0
    older, newer = Reader(first), Reader(second)  # type: ignore[arg-type]  # every binary stream has readinto
    writer = Writer(stream, merged_header(older, newer))
    for record in merged(older, newer):
        if isinstance(record, Data):
            writer.data(record.offset, record.data)
        else:
            writer.zeros(record.offset, record.length)
        if progress:
            progress(older.consumed + newer.consumed, total)
    older.expect_end()
    newer.expect_end()
    writer.end()
    settle(stream)
    if progress:
        progress(older.consumed + newer.consumed, older.consumed + newer.consumed)
