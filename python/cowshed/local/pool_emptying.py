"""All images of a pool removed, as a cluster removes a pool: no matter who uses them."""

from __future__ import annotations

from cowshed.errors import InGroup
from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change
from cowshed.local.ending import forget
from cowshed.local.stored import StoredImage

_AT_ONCE = 500
"""So many snapshots of an image go with one commit."""


def remove_images(catalog: Catalog, pool: str) -> None:
    """Those in the trash, too. Each goes with one commit, or a few if it has many snapshots.

    Clones elsewhere keep what they have: their parent is no longer shown. Raises InGroup for an image that a
    group holds; the pool's own groups are to be gone.
    """
    for key, value in list(catalog.scan(keys.names_of_pool(pool))):
        _remove(catalog, value.decode(), key)
    for key, _ in list(catalog.scan(keys.trash_of_pool(pool))):
        _remove(catalog, keys.last(key), key)


def _remove(catalog: Catalog, image_id: str, found_by: bytes) -> None:
    """An image with its snapshots and the key that it is found by."""

    def decide(change: Change) -> bool:
        image = change.image_by_id(image_id)
        if image is None or change.get(found_by) is None:
            return True  # Somebody else removed or renamed it.
        snapshots = list(catalog.snapshots(image_id))
        if image.group or any(snapshot.namespace == "group" for _, snapshot in snapshots):
            raise InGroup(
                f"image {str(image.spec)!r} belongs to a group of another pool", hint="take it out of there"
            )
        for snapshot_id, snapshot in snapshots[:_AT_ONCE]:
            change.delete(keys.snapshot(image_id, snapshot_id))
            if snapshot.namespace == "user":
                change.delete(keys.snapshot_name(image_id, snapshot.name))
            change.transaction.drop(snapshot_id)
        if len(snapshots) > _AT_ONCE:
            rest: StoredImage = image.changed(snapshots=image.snapshots - _AT_ONCE)
            change.put(keys.image(image_id), rest.encode())
            return False
        change.delete(found_by)
        forget(change, image_id, image.changed(snapshots=0), repr(str(image.spec)))
        return True

    while not catalog.change(decide):
        pass
