"""The end of an image: all its keys go, and its parent is let go, which may be the parent's end, too."""

from __future__ import annotations

from cowshed.errors import NotEmpty
from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change
from cowshed.local.links import count, holders
from cowshed.local.stored import Link, StoredImage, StoredTrash

FOR_CLONES = "USER_PARENT"
"""The source of what is in the trash only until its last clone lets it go."""


def check_no_snapshots(image: StoredImage, called: str) -> None:
    """Raises NotEmpty for an image that has any, those that clones keep included."""
    if image.snapshots:
        plural = "s" if image.snapshots > 1 else ""
        raise NotEmpty(
            f"image {called} has {image.snapshots} snapshot{plural}",
            hint=f"`cowshed snap purge {image.spec}` removes them" if not image.trashed else None,
        )


def forget(change: Change, image_id: str, image: StoredImage, called: str) -> None:
    """Drop an image with all its keys but the one that it is found by.

    Raises NotEmpty for one with snapshots.
    """
    check_no_snapshots(image, called)
    change.delete(keys.image(image_id))
    for key in (keys.times(image_id), keys.lock(image_id), keys.moving(image_id)):
        change.delete(key)
    for key, _ in change.scan(keys.metadata_of(image_id)):
        change.delete(key)
    if image.parent:
        detach(change, image.parent, image_id)
    change.transaction.drop(image.head)


def held_by_clones(catalog: Catalog, image_id: str, image: StoredImage) -> bool:
    """Whether it has snapshots, and all of them only for clones of format 2."""
    return image.snapshots > 0 and all(
        snapshot.namespace == "trash" for _, snapshot in catalog.snapshots(image_id)
    )


def put_in_trash(change: Change, image_id: str, image: StoredImage, entry: StoredTrash) -> None:
    """An image whose name was taken away."""
    change.put(keys.trashed(image.pool, image.namespace, image_id), entry.encode())
    change.put(keys.image(image_id), image.changed(trashed=True).encode())


def detach(change: Change, link: Link, child: str) -> None:
    """Forget that an image is a clone. A snapshot that was only kept for it goes; and with the last of these
    an image that is in the trash for its clones' sake.
    """
    change.delete(keys.child(link.image, link.snapshot, child))
    if not link.format:
        return
    count(change, link, -1)
    parent = change.image_by_id(link.image)
    snapshot = change.snapshot_by_id(link.image, link.snapshot)
    if parent is None or snapshot is None or snapshot.namespace != "trash":
        return
    if any(other != child for other, format_ in holders(change, link.image, link.snapshot) if format_ == 2):
        return
    change.delete(keys.snapshot(link.image, link.snapshot))
    change.transaction.drop(link.snapshot)
    clones = parent.clones - (link.format == 2)
    left = parent.changed(snapshots=parent.snapshots - 1, clones=clones)
    change.put(keys.image(link.image), left.encode())
    if left.snapshots == 0 and left.trashed:
        _end_for_clones(change, link.image, left)


def _end_for_clones(change: Change, image_id: str, image: StoredImage) -> None:
    key = keys.trashed(image.pool, image.namespace, image_id)
    value = change.get(key)
    if value is not None and StoredTrash.decode(key, value).source == FOR_CLONES:
        change.delete(key)
        forget(change, image_id, image, repr(image.name))
