"""Clones and their parents' names. A clone holds what it needs; its parent is only a name to show."""

from __future__ import annotations

from cowshed.errors import InvalidArgument
from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change
from cowshed.local.images import check_free, check_order, enlist, parent_of
from cowshed.local.stored import Link
from cowshed.store.records import ChildInfo
from cowshed.store.spec import ImageSpec, SnapSpec


def clone(catalog: Catalog, parent: SnapSpec, child: ImageSpec, order: int | None) -> None:
    if order is not None:
        check_order(order)

    def decide(change: Change) -> None:
        image_id, image, snapshot_id, _ = change.snapshot(parent)
        check_free(change, child)
        size = change.kernel.version(snapshot_id).size
        head = change.transaction.derive(snapshot_id)
        enlist(change, child, head, order or image.order, Link(image_id, snapshot_id, size))

    catalog.change(decide)


def children(catalog: Catalog, spec: ImageSpec | SnapSpec) -> list[ChildInfo]:
    if isinstance(spec, SnapSpec):
        image_id, _, only, _ = catalog.snapshot(spec)
        prefix = keys.children(image_id, only)
    else:
        image_id, _ = catalog.image(spec)
        prefix = keys.children_of_image(image_id)
    found = []
    for key, _ in catalog.scan(prefix):
        _, _, snapshot_id, child_id = key.decode().split("/")
        snapshot = catalog.snapshot_by_id(image_id, keys.snapshot_id(snapshot_id))
        child = catalog.image_by_id(child_id)
        if snapshot is not None and child is not None:
            found.append(ChildInfo(child.pool, child.namespace, child.name, child_id, snapshot.name))
    return sorted(found, key=lambda child: (child.pool, child.namespace, child.image))


def flatten(catalog: Catalog, spec: ImageSpec) -> None:
    def decide(change: Change) -> None:
        image_id, image = change.image(spec)
        link = image.parent
        if link is None or parent_of(change, link, 0) is None:
            raise InvalidArgument(f"image {str(spec)!r} has no parent")
        change.delete(keys.child(link.image, link.snapshot, image_id))
        change.put(keys.image(image_id), image.changed(parent=None).encode())

    catalog.change(decide)
