"""Snapshots of an image. A snapshot's id is its frozen version's: ascending, never used again."""

from __future__ import annotations

from cowshed.errors import AlreadyExists, Busy, InvalidArgument
from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change
from cowshed.local.clock import now
from cowshed.local.images import resized
from cowshed.local.stored import StoredImage, StoredSnapshot
from cowshed.store.progress import Progress
from cowshed.store.records import SnapshotInfo
from cowshed.store.spec import ImageSpec, SnapSpec

_PURGE_AT_ONCE = 500
"""Snapshots removed in one transaction: bounds its memory, and is the grain of progress."""


def snapshots(catalog: Catalog, spec: ImageSpec) -> list[SnapshotInfo]:
    image_id, _ = catalog.image(spec)
    return [_info(catalog, id_, snapshot) for id_, snapshot in catalog.snapshots(image_id)]


def _info(catalog: Catalog, snapshot_id: int, snapshot: StoredSnapshot) -> SnapshotInfo:
    size = catalog.kernel.version(snapshot_id).size
    return SnapshotInfo(snapshot_id, snapshot.name, size, snapshot.protected, snapshot.created)


def create(catalog: Catalog, spec: SnapSpec) -> SnapshotInfo:
    def decide(change: Change) -> tuple[int, StoredSnapshot]:
        # The image is read before the id is drawn: of two at once, the later to commit draws anew, so
        # ids ascend in the order of creation.
        image_id, image = change.image(spec.image_spec)
        _check_free(change, image_id, spec)
        snapshot_id = change.transaction.freeze(image.head)
        snapshot = StoredSnapshot(spec.snapshot, now(), overlap=image.parent.overlap if image.parent else 0)
        change.put(keys.snapshot(image_id, snapshot_id), snapshot.encode())
        change.put(keys.snapshot_name(image_id, spec.snapshot), f"{snapshot_id:016x}".encode())
        change.put(keys.image(image_id), image.changed(snapshots=image.snapshots + 1).encode())
        return snapshot_id, snapshot

    return _info(catalog, *catalog.change(decide))


def _check_free(change: Change, image_id: str, spec: SnapSpec) -> None:
    if change.get(keys.snapshot_name(image_id, spec.snapshot)) is not None:
        raise AlreadyExists(f"snapshot {str(spec)!r} exists already")


def remove(catalog: Catalog, spec: SnapSpec) -> None:
    def decide(change: Change) -> None:
        image_id, image, snapshot_id, snapshot = change.snapshot(spec)
        if snapshot.protected:
            raise Busy(f"snapshot {str(spec)!r} is protected", hint=f"`cowshed snap unprotect {spec}` first")
        _forget(change, image_id, snapshot_id, snapshot)
        change.put(keys.image(image_id), image.changed(snapshots=image.snapshots - 1).encode())

    catalog.change(decide)


def _forget(change: Change, image_id: str, snapshot_id: int, snapshot: StoredSnapshot) -> None:
    change.delete(keys.snapshot(image_id, snapshot_id))
    change.delete(keys.snapshot_name(image_id, snapshot.name))
    change.transaction.drop(snapshot_id)


def purge(catalog: Catalog, spec: ImageSpec, progress: Progress | None) -> int:
    removed = after = 0
    protected: list[str] = []
    total = catalog.image(spec)[1].snapshots

    def decide(change: Change) -> tuple[int, int, list[str]]:
        image_id, image = change.image(spec)
        count, last, kept = 0, after, []
        for snapshot_id, snapshot in catalog.snapshots(image_id, after=after):
            if count == _PURGE_AT_ONCE:
                break
            last = snapshot_id
            if snapshot.protected:
                kept.append(snapshot.name)
            else:
                _forget(change, image_id, snapshot_id, snapshot)
                count += 1
        if count:
            change.put(keys.image(image_id), image.changed(snapshots=image.snapshots - count).encode())
        return count, last, kept

    while True:
        count, after, kept = catalog.change(decide)
        removed += count
        protected += kept
        if progress:
            progress(removed, max(total - len(protected), removed))
        if count < _PURGE_AT_ONCE:
            break
    if protected:
        shown = ", ".join(protected[:5]) + (" …" if len(protected) > 5 else "")
        raise Busy(
            f"{removed} snapshots of {str(spec)!r} removed, {len(protected)} stay, being protected: {shown}",
            hint="`cowshed snap unprotect` first",
        )
    return removed


def rename(catalog: Catalog, spec: SnapSpec, new: SnapSpec) -> None:
    if spec.image_spec != new.image_spec:
        raise InvalidArgument(f"cannot rename {str(spec)!r} to {str(new)!r}: a snapshot stays with its image")

    def decide(change: Change) -> None:
        image_id, image, snapshot_id, snapshot = change.snapshot(spec)
        _check_free(change, image_id, new)
        change.delete(keys.snapshot_name(image_id, spec.snapshot))
        change.put(keys.snapshot_name(image_id, new.snapshot), f"{snapshot_id:016x}".encode())
        _put(change, image_id, image, snapshot_id, snapshot.changed(name=new.snapshot))

    catalog.change(decide)


def protect(catalog: Catalog, spec: SnapSpec) -> None:
    def decide(change: Change) -> None:
        image_id, image, snapshot_id, snapshot = change.snapshot(spec)
        if snapshot.protected:
            raise Busy(f"snapshot {str(spec)!r} is protected already")
        _put(change, image_id, image, snapshot_id, snapshot.changed(protected=True))

    catalog.change(decide)


def unprotect(catalog: Catalog, spec: SnapSpec) -> None:
    def decide(change: Change) -> None:
        image_id, image, snapshot_id, snapshot = change.snapshot(spec)
        if not snapshot.protected:
            raise InvalidArgument(f"snapshot {str(spec)!r} is not protected")
        _put(change, image_id, image, snapshot_id, snapshot.changed(protected=False))

    catalog.change(decide)


def _put(
    change: Change, image_id: str, image: StoredImage, snapshot_id: int, snapshot: StoredSnapshot
) -> None:
    change.put(keys.snapshot(image_id, snapshot_id), snapshot.encode())
    change.put(keys.image(image_id), image.changed().encode())


def rollback(catalog: Catalog, spec: SnapSpec) -> None:
    def decide(change: Change) -> None:
        image_id, image, snapshot_id, _ = change.snapshot(spec)
        change.transaction.rollback(image.head, snapshot_id)
        size = change.kernel.version(snapshot_id).size
        change.put(keys.image(image_id), resized(image, size).encode())

    catalog.change(decide)
