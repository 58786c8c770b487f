"""Snapshots of an image. A snapshot's id is its frozen version's: ascending, never used again."""

from __future__ import annotations

import uuid

from cowshed.errors import AlreadyExists, Busy, InvalidArgument, QuotaExceeded
from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change
from cowshed.local.clock import now
from cowshed.local.images import resized
from cowshed.local.links import holders
from cowshed.local.stored import StoredGroup, StoredGroupSnapshot, StoredImage, StoredSnapshot
from cowshed.store.progress import Progress
from cowshed.store.records import SnapshotInfo
from cowshed.store.spec import GroupSpec, ImageSpec, SnapSpec

_PURGE_AT_ONCE = 500
"""Snapshots removed in one transaction: bounds its memory, and is the grain of progress."""


def snapshots(catalog: Catalog, spec: ImageSpec, all_namespaces: bool) -> list[SnapshotInfo]:
    image_id, _ = catalog.image(spec)
    found = catalog.snapshots(image_id)
    return [_info(catalog, id_, kept) for id_, kept in found if all_namespaces or kept.namespace == "user"]


def _info(catalog: Catalog, snapshot_id: int, snapshot: StoredSnapshot) -> SnapshotInfo:
    size = catalog.kernel.version(snapshot_id).size
    return SnapshotInfo(
        snapshot_id,
        snapshot.name,
        size,
        snapshot.protected,
        snapshot.created,
        namespace=snapshot.namespace,
        original_name=snapshot.of if snapshot.namespace == "trash" else None,
        group=_group_snapshot(catalog, snapshot),
    )


def _group_snapshot(catalog: Catalog, snapshot: StoredSnapshot) -> str | None:
    """What the group's snapshot is called that this one is a part of."""
    if snapshot.namespace != "group" or snapshot.of is None:
        return None
    group_id, _, part = snapshot.of.partition("/")
    group_key, part_key = keys.group(group_id), keys.group_snapshot(group_id, part)
    group, whole = catalog.get(group_key), catalog.get(part_key)
    if group is None or whole is None:
        return None
    named = StoredGroup.decode(group_key, group)
    spec = GroupSpec(named.pool, named.namespace, named.name)
    return f"{spec}@{StoredGroupSnapshot.decode(part_key, whole).name}"


def check_limit(image: StoredImage, called: str) -> None:
    """Raises QuotaExceeded for an image that may have no more snapshots."""
    if image.limit is not None and image.snapshots >= image.limit:
        raise QuotaExceeded(
            f"image {called!r} may have {image.limit} snapshots, and has {image.snapshots}",
            hint="remove some, or `cowshed snap limit clear`",
        )


def set_limit(catalog: Catalog, spec: ImageSpec, limit: int | None) -> None:
    if limit is not None and limit < 0:
        raise InvalidArgument(f"a limit of {limit} snapshots is not possible")

    def decide(change: Change) -> None:
        image_id, image = change.image(spec)
        change.put(keys.image(image_id), image.changed(limit=limit).encode())

    catalog.change(decide)


def create(catalog: Catalog, spec: SnapSpec) -> SnapshotInfo:
    def decide(change: Change) -> tuple[int, StoredSnapshot]:
        # The image is read before the id is drawn: of two at once, the later to commit draws anew, so
        # ids ascend in the order of creation.
        image_id, image = change.image(spec.image_spec)
        _check_free(change, image_id, spec)
        check_limit(image, str(spec.image_spec))
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
        gone = _forget(change, image_id, snapshot_id, snapshot)
        change.put(keys.image(image_id), image.changed(snapshots=image.snapshots - gone).encode())

    catalog.change(decide)


def _forget(change: Change, image_id: str, snapshot_id: int, snapshot: StoredSnapshot) -> int:
    """Drop a snapshot, or keep it out of sight for the clones that hold it; how many fewer there are."""
    change.delete(keys.snapshot_name(image_id, snapshot.name))
    if any(format_ == 2 for _, format_ in holders(change, image_id, snapshot_id)):
        kept = snapshot.changed(name=str(uuid.uuid4()), namespace="trash", of=snapshot.name)
        change.put(keys.snapshot(image_id, snapshot_id), kept.encode())
        return 0
    change.delete(keys.snapshot(image_id, snapshot_id))
    change.transaction.drop(snapshot_id)
    return 1


def purge(catalog: Catalog, spec: ImageSpec, progress: Progress | None) -> int:
    removed = after = 0
    protected: list[str] = []
    total = catalog.image(spec)[1].snapshots

    def decide(change: Change) -> tuple[int, int, list[str]]:
        image_id, image = change.image(spec)
        count, gone, last, kept = 0, 0, after, []
        for snapshot_id, snapshot in catalog.snapshots(image_id, after=after):
            if count == _PURGE_AT_ONCE:
                break
            last = snapshot_id
            if snapshot.namespace != "user":
                continue
            if snapshot.protected:
                kept.append(snapshot.name)
            else:
                gone += _forget(change, image_id, snapshot_id, snapshot)
                count += 1
        if count:
            change.put(keys.image(image_id), image.changed(snapshots=image.snapshots - gone).encode())
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
        if any(format_ == 1 for _, format_ in holders(change, image_id, snapshot_id)):
            raise Busy(
                f"snapshot {str(spec)!r} has clones of format 1",
                hint=f"flatten or remove them; `cowshed children {spec}` lists them",
            )
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
