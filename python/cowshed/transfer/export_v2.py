"""Images with all their snapshots in and out of a store, in rbd's export format 2."""

from __future__ import annotations

from typing import BinaryIO

from cowshed.errors import FormatError
from cowshed.formats import diff
from cowshed.formats.export_v2 import ImageHeader, Reader, Writer
from cowshed.formats.streams import length_of, settle
from cowshed.store.features import features_here, mask
from cowshed.store.interface import Store
from cowshed.store.progress import Progress
from cowshed.store.records import SnapshotInfo
from cowshed.store.spec import ImageSpec, as_image
from cowshed.store.striping import Striping, inherited
from cowshed.transfer.records import apply_records, take_snapshot, write_records
from cowshed.transfer.scratch import check_free, scratch_name

_OF_TODAY = ("operations", "migrating")
"""Features that say what is done with an image just now; `rbd import` does not take them."""


def export_with_snapshots(
    store: Store, spec: ImageSpec | str, stream: BinaryIO, *, progress: Progress | None = None
) -> None:
    """Write an image with its order, features and metadata, and all its snapshots and which are protected.

    The stream is what `rbd import --export-format 2` reads. Snapshots that groups and clones keep are left
    out. A file is durable when this returns. Progress counts bytes of the image and of each snapshot.

    Raises NotFound, NoSpace, Disconnected, IOFailure, and InvalidArgument for more snapshots or metadata than
    the format is read with.
    """
    spec = as_image(spec)
    stat, snapshots = store.stat(spec), store.snapshots(spec)
    header = ImageHeader(
        order=stat.order,
        features=mask([feature for feature in stat.features if feature not in _OF_TODAY]),
        stripe_unit=stat.stripe_unit,
        stripe_count=stat.stripe_count,
        metadata=store.metadata(spec),
    )
    total = stat.size + sum(snapshot.size for snapshot in snapshots)
    done = 0

    def reached(offset: int) -> None:
        if progress:
            progress(done + offset, total)

    writer = Writer(stream, header, len(snapshots) + 1)
    before: str | None = None
    versions: list[SnapshotInfo | None] = [*snapshots, None]
    for version in versions:
        with store.open(
            spec if version is None else spec.at(version.name), read_only=True, cached=False
        ) as image:
            name, protected = (version.name, version.protected) if version else (None, False)
            records = writer.diff(diff.Header(before, name, image.size, protected))
            write_records(image, image.diff(before), records, reached)
            done += image.size
        before = name
    settle(stream)
    if progress:
        progress(done, done)


def import_with_snapshots(
    store: Store,
    spec: ImageSpec | str,
    stream: BinaryIO,
    *,
    order: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Make an image, snapshots and all, of what `export_with_snapshots` or `rbd export` wrote (format 2).

    The order is the stream's unless one is given, and the pool's where there is none. Of the features those
    are taken that an image here can have; the striping is kept where it goes with the order.

    The image appears under its name when it is complete and durable: until then it is called
    `<name>.importing-…`, and is removed again if the import fails. Progress counts bytes of the stream (of a
    pipe, the total is unknown). Raises AlreadyExists, NotFound (the pool), FormatError, InvalidArgument for
    names or numbers that are not possible here, NoSpace, IOFailure.
    """
    spec = as_image(spec)
    check_free(store, spec)
    total = length_of(stream)
    reader = Reader(stream)  # type: ignore[arg-type]  # every binary stream has readinto
    header = reader.header

    def read_on() -> None:
        if progress:
            progress(min(reader.consumed, total) if total else reader.consumed, total)

    scratch = ImageSpec(spec.pool, spec.namespace, scratch_name(spec.image, "importing"))
    store.create(
        scratch,
        0,
        order=header.order if order is None else order,
        features=None if header.features is None else features_here(header.features),
        striping=_striping(header, order),
    )
    try:
        for key, value in header.metadata.items():
            store.set_metadata(scratch, key, value)
        taken: set[str] = set()
        for one in reader.diffs():
            end = one.header.to_snapshot
            if end in taken:
                raise FormatError(f"{reader.name} holds two snapshots {end!r}")
            # Made before the content is read: it may not be possible as a name.
            snapshot = None if end is None else scratch.at(end)
            apply_records(store, scratch, one, pipe=not total, after_each=read_on)
            if snapshot is not None:
                take_snapshot(store, snapshot, one.header.protected)
                taken.add(snapshot.snapshot)
        reader.expect_end()
        store.rename(scratch, spec)
    except BaseException:
        _discard(store, scratch)
        raise
    if progress:
        progress(reader.consumed, reader.consumed)


def _striping(header: ImageHeader, order: int | None) -> Striping | None:
    """What the stream says of it, where that is not the default and goes with the order."""
    if header.order is None or not header.stripe_unit or not header.stripe_count:
        return None
    given, chosen = (header.stripe_unit, header.stripe_count), header.order if order is None else order
    if max(*given, 1 << 62) > 1 << 62 or max(header.order, chosen) > 62 or given == (1 << header.order, 1):
        return None
    return inherited(chosen, given)


def _discard(store: Store, scratch: ImageSpec) -> None:
    """Remove an image with its snapshots, protected or not."""
    for snapshot in store.snapshots(scratch):
        if snapshot.protected:
            store.unprotect_snapshot(scratch.at(snapshot.name))
    store.purge_snapshots(scratch)
    store.remove(scratch)
