"""Copies within a store: new heads on the same blocks."""

from __future__ import annotations

from collections.abc import Sequence

from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change
from cowshed.local.clock import now
from cowshed.local.images import check_free, check_order, enlist
from cowshed.local.settings import metadata_of
from cowshed.local.stored import Link, StoredImage, StoredSnapshot
from cowshed.store.progress import Progress
from cowshed.store.spec import ImageSpec, SnapSpec
from cowshed.store.striping import Striping, check_striping, inherited

_PIECE = 64 << 20
"""Bytes of a disk looked at in one call."""


def copy(
    catalog: Catalog,
    source: ImageSpec | SnapSpec,
    target: ImageSpec,
    order: int | None,
    striping: Sequence[int] | None,
    progress: Progress | None,
) -> None:
    if order is not None:
        check_order(order)

    def decide(change: Change) -> None:
        image_id, image, frozen = _source(change, source)
        check_free(change, target)
        head = _copy_head(change, image, frozen)
        chosen, spread = _layout(image, order, striping)
        copied = enlist(change, target, head, chosen, None, features=image.features, striping=spread)
        _copy_metadata(catalog, change, image_id, copied)

    catalog.change(decide)
    if progress:
        progress(1, 1)


def deep_copy(
    catalog: Catalog,
    source: ImageSpec | SnapSpec,
    target: ImageSpec,
    order: int | None,
    striping: Sequence[int] | None,
    flatten: bool,
    progress: Progress | None,
) -> None:
    if order is not None:
        check_order(order)

    def decide(change: Change) -> int:
        image_id, image, last = _source(change, source)
        check_free(change, target)
        snapshots = [
            (version, snapshot)
            for version, snapshot in catalog.snapshots(image_id)
            if snapshot.namespace == "user" and (last is None or version <= last)
        ]
        # Each of the copy's snapshots is a head on the same blocks, frozen at once. They are not one
        # another's parents, and differ from each other exactly as the source's do.
        copies = []
        for version, snapshot in snapshots:
            head = change.transaction.derive(version)
            copies.append((change.transaction.freeze(head), snapshot))
            change.transaction.drop(head)
        head = _copy_head(change, image, last)
        link = None if flatten else _parent(change, image, snapshots, last)
        chosen, spread = _layout(image, order, striping)
        copied = enlist(
            change,
            target,
            head,
            chosen,
            link,
            features=image.features,
            striping=spread,
            snapshots=len(copies),
        )
        for version, snapshot in copies:
            made = StoredSnapshot(snapshot.name, now(), overlap=snapshot.overlap if link else 0)
            change.put(keys.snapshot(copied, version), made.encode())
            change.put(keys.snapshot_name(copied, snapshot.name), f"{version:016x}".encode())
        _copy_metadata(catalog, change, image_id, copied)
        return len(copies) + 1

    done = catalog.change(decide)
    if progress:
        progress(done, done)


def _source(change: Change, source: ImageSpec | SnapSpec) -> tuple[str, StoredImage, int | None]:
    """Image id and record, and the version of the snapshot that is named."""
    if isinstance(source, SnapSpec):
        image_id, image, version, _ = change.snapshot(source)
        return image_id, image, version
    return *change.image(source), None


def _layout(
    image: StoredImage, order: int | None, striping: Sequence[int] | None
) -> tuple[int, Striping | None]:
    """The order and striping of a copy: its source's where nothing else is asked for."""
    chosen = order or image.order
    if striping is None:
        return chosen, inherited(chosen, image.striping)
    return chosen, check_striping(chosen, striping)


def _copy_head(change: Change, image: StoredImage, frozen: int | None) -> int:
    """A new head with the content of a frozen version, or of the image now."""
    if frozen is not None:
        return change.transaction.derive(frozen)
    now_frozen = change.transaction.freeze(image.head)
    head = change.transaction.derive(now_frozen)
    change.transaction.drop(now_frozen)
    return head


def _parent(
    change: Change, image: StoredImage, snapshots: list[tuple[int, StoredSnapshot]], last: int | None
) -> Link | None:
    """The parent that the copy shows: its source's, with the overlap of then."""
    link = image.parent
    if link is None or last is None:
        return link
    overlap = next(snapshot.overlap for version, snapshot in snapshots if version == last)
    return Link(link.image, link.snapshot, overlap, link.format)


def _copy_metadata(catalog: Catalog, change: Change, image_id: str, copied: str) -> None:
    for key, value in metadata_of(catalog, image_id).items():
        change.put(keys.metadata(copied, key), value.encode())


def sparsify(catalog: Catalog, spec: ImageSpec, progress: Progress | None) -> int:
    """Look at all data, a piece at a time; the kernel unmaps what is zero while no one writes there."""
    disk = catalog.kernel.disk(catalog.image(spec)[1].head)
    size, freed = disk.size, 0
    for offset in range(0, size, _PIECE):
        freed += disk.sparsify(offset, min(_PIECE, size - offset))
        if progress:
            progress(min(offset + _PIECE, size), size)
    catalog.kernel.flush()
    return freed
