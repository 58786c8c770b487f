"""Clones and their parents' names. A clone holds what it needs; its parent is only a name to show."""

from __future__ import annotations

from collections.abc import Sequence

from cowshed.errors import InvalidArgument
from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change, View
from cowshed.local.ending import detach
from cowshed.local.images import check_free, check_order, enlist, parent_of
from cowshed.local.settings import pool_setting
from cowshed.local.stored import Link
from cowshed.store.features import check_new
from cowshed.store.records import ChildInfo
from cowshed.store.spec import ImageSpec, SnapSpec
from cowshed.store.striping import check_striping, inherited


def clone(
    catalog: Catalog,
    parent: SnapSpec,
    child: ImageSpec,
    order: int | None,
    features: Sequence[str] | None,
    striping: Sequence[int] | None,
    clone_format: int | None,
    default_format: int | None,
) -> None:
    if order is not None:
        check_order(order)
    for given in (clone_format, default_format):
        if given not in (None, 1, 2):
            raise InvalidArgument(f"clone format {given} is not possible", hint="1 and 2 are")
    wanted = None if features is None else check_new(features)

    def decide(change: Change) -> None:
        image_id, image, snapshot_id, snapshot = change.snapshot(parent)
        check_free(change, child)
        form = clone_format
        if form is None:
            form = _configured_format(change, child.pool, default_format or 0)
        if form == 1 and not snapshot.protected:
            raise InvalidArgument(
                f"snapshot {str(parent)!r} is not protected, and a clone of format 1 needs that",
                hint=f"`cowshed snap protect {parent}`, or make a clone of another format",
            )
        size = change.kernel.version(snapshot_id).size
        head = change.transaction.derive(snapshot_id)
        link = Link(image_id, snapshot_id, size, form)
        chosen = order or image.order
        enlist(
            change,
            child,
            head,
            chosen,
            link,
            features=image.features if wanted is None else wanted,
            striping=check_striping(chosen, striping) if striping else inherited(chosen, image.striping),
        )

    catalog.change(decide)


def _configured_format(view: View, pool: str, default: int) -> int:
    """Of clones in a pool; 0: neither of RBD's two. `auto` is that too, unless one of the two is wanted."""
    configured = pool_setting(view, pool, "rbd_default_clone_format")
    if configured is None:
        return default
    return min(default, 1) if configured == "auto" else int(configured)


def children(catalog: Catalog, spec: ImageSpec | SnapSpec) -> list[ChildInfo]:
    if isinstance(spec, SnapSpec):
        image_id, _, only, _ = catalog.snapshot(spec)
        prefix = keys.children(image_id, only)
    else:
        image_id, _ = catalog.image(spec)
        prefix = keys.children_of_image(image_id)
    return _children(catalog, image_id, prefix)


def _children(catalog: Catalog, image_id: str, prefix: bytes) -> list[ChildInfo]:
    found = []
    for key, value in catalog.scan(prefix):
        _, _, snapshot_id, child_id = key.decode().split("/")
        snapshot = catalog.snapshot_by_id(image_id, keys.snapshot_id(snapshot_id))
        child = catalog.image_by_id(child_id)
        if snapshot is not None and child is not None:
            name = snapshot.name if snapshot.namespace == "user" else snapshot.of or snapshot.name
            found.append(
                ChildInfo(
                    child.pool,
                    child.namespace,
                    child.name,
                    child_id,
                    name,
                    trash=child.trashed,
                    clone_format=int(value) if value else None,
                )
            )
    return sorted(found, key=lambda child: (child.pool, child.namespace, child.image))


def descendants(catalog: Catalog, spec: ImageSpec | SnapSpec) -> list[ChildInfo]:
    found: dict[str, ChildInfo] = {}
    waiting = children(catalog, spec)
    while waiting:
        child = waiting.pop()
        if child.id not in found:
            found[child.id] = child
            waiting += _children(catalog, child.id, keys.children_of_image(child.id))
    return sorted(found.values(), key=lambda child: (child.pool, child.namespace, child.image))


def flatten(catalog: Catalog, spec: ImageSpec) -> None:
    def decide(change: Change) -> None:
        image_id, image = change.image(spec)
        link = image.parent
        if link is None or parent_of(change, link, 0) is None:
            raise InvalidArgument(f"image {str(spec)!r} has no parent")
        detach(change, link, image_id)
        change.put(keys.image(image_id), image.changed(parent=None).encode())

    catalog.change(decide)
