"""Images: made, described, renamed, resized, removed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypedDict

from cowshed._kernel import MAX_DISK_SIZE
from cowshed.errors import AlreadyExists, Busy, InGroup, InvalidArgument, NotFound
from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change, View
from cowshed.local.clients import Openings
from cowshed.local.clock import now
from cowshed.local.ending import FOR_CLONES, check_no_snapshots, forget, held_by_clones, put_in_trash
from cowshed.local.links import attach
from cowshed.local.settings import pool_default
from cowshed.local.stored import Link, StoredGroup, StoredImage, StoredTimes, StoredTrash
from cowshed.store.features import check_new, ordered, parse_features
from cowshed.store.records import ImageStat, ParentInfo
from cowshed.store.spec import GroupSpec, ImageSpec, SnapSpec
from cowshed.store.striping import Striping, check_striping

ORDERS = range(12, 26)
"""RBD's object sizes: 4 KiB to 32 MiB."""


def create(
    catalog: Catalog,
    spec: ImageSpec,
    size: int,
    order: int | None,
    features: Sequence[str] | None,
    striping: Sequence[int] | None,
) -> None:
    check_size(size)
    if order is not None:
        check_order(order)
    wanted = None if features is None else check_new(features)

    def decide(change: Change) -> None:
        check_free(change, spec)
        chosen = default_order(change, spec.pool) if order is None else order
        enlist(
            change,
            spec,
            change.transaction.create(size),
            chosen,
            None,
            features=default_features(change, spec.pool) if wanted is None else wanted,
            striping=check_striping(chosen, striping),
        )

    catalog.change(decide)


def check_size(size: int) -> None:
    """Raises InvalidArgument for what cannot be the size of a disk, in bytes."""
    if not 0 <= size <= MAX_DISK_SIZE:
        raise InvalidArgument(f"an image of {size} bytes is not possible", hint="0 bytes to 1 PiB are")


def check_order(order: int) -> None:
    """Raises InvalidArgument for what RBD does not take as an object order."""
    if order not in ORDERS:
        raise InvalidArgument(
            f"order {order} is not possible",
            hint=f"{ORDERS[0]} to {ORDERS[-1]}, for objects of 4 KiB to 32 MiB",
        )


def default_order(view: View, pool: str) -> int:
    """The object order of new images of a pool."""
    order = int(pool_default(view, pool, "rbd_default_order"))
    check_order(order)
    return order


def default_features(view: View, pool: str) -> tuple[str, ...]:
    """The features of new images of a pool."""
    return check_new(parse_features(pool_default(view, pool, "rbd_default_features")))


def check_free(change: Change, spec: ImageSpec) -> None:
    """Raises NotFound for the pool or the namespace, AlreadyExists for the image."""
    change.place(spec.pool, spec.namespace)
    if spec.by_id:
        raise InvalidArgument(f"{str(spec)!r} is an id: a new image needs a name")
    if change.get(keys.name(spec.pool, spec.namespace, spec.image)) is not None:
        raise AlreadyExists(f"image {str(spec)!r} exists already")


def enlist(
    change: Change,
    spec: ImageSpec,
    head: int,
    order: int,
    parent: Link | None,
    *,
    features: tuple[str, ...],
    striping: Striping | None,
    snapshots: int = 0,
) -> str:
    """Put the records of a new image, whose name is known to be free; its id."""
    image_id = os.urandom(6).hex()
    while change.get(keys.image(image_id)) is not None:
        image_id = os.urandom(6).hex()
    image = StoredImage(
        spec.pool,
        spec.namespace,
        spec.image,
        head,
        order,
        now(),
        snapshots=snapshots,
        parent=parent,
        features=features,
        striping=striping,
    )
    change.put(keys.name(spec.pool, spec.namespace, spec.image), image_id.encode())
    change.put(keys.image(image_id), image.encode())
    if parent:
        attach(change, parent, image_id)
    return image_id


def find(catalog: Catalog, pool: str, namespace: str, image_id: str) -> ImageSpec:
    catalog.place(pool, namespace)
    image = catalog.image_by_id(image_id)
    if image is None or image.trashed or (image.pool, image.namespace) != (pool, namespace):
        raise NotFound(f"no image with the id {image_id!r} in {pool!r}")
    return image.spec


def names(catalog: Catalog, pool: str, namespace: str) -> Iterator[str]:
    for key, _ in catalog.scan(keys.names(pool, namespace)):
        yield keys.last(key)


def stat(catalog: Catalog, spec: ImageSpec | SnapSpec) -> ImageStat:
    if isinstance(spec, SnapSpec):
        image_id, image, version, snapshot = catalog.snapshot(spec)
        described = ImageStat(
            pool=image.pool,
            namespace=image.namespace,
            name=image.name,
            id=image_id,
            size=catalog.kernel.version(version).size,
            order=image.order,
            snapshot_count=image.snapshots,
            created=image.created,
            accessed=snapshot.created,
            modified=snapshot.created,
            parent=parent_of(catalog, image.parent, snapshot.overlap),
            snapshot=snapshot.name,
            protected=snapshot.protected,
            **_marks(catalog, image_id, image),
        )
    else:
        image_id, image = catalog.image(spec)
        value = catalog.get(keys.times(image_id))
        modified = (
            StoredTimes.decode(keys.times(image_id), value).modified if value is not None else image.created
        )
        described = ImageStat(
            pool=image.pool,
            namespace=image.namespace,
            name=image.name,
            id=image_id,
            size=catalog.kernel.version(image.head).size,
            order=image.order,
            snapshot_count=image.snapshots,
            created=image.created,
            accessed=modified,
            modified=modified,
            parent=parent_of(catalog, image.parent, image.parent.overlap if image.parent else 0),
            **_marks(catalog, image_id, image),
        )
    return described


class _Marks(TypedDict):
    features: tuple[str, ...]
    op_features: tuple[str, ...]
    group: str | None
    striping: Striping | None


def _marks(catalog: Catalog, image_id: str, image: StoredImage) -> _Marks:
    """What is said of an image besides."""
    notes = []
    if image.clones:
        notes.append("clone-parent")
    if image.parent and image.parent.format == 2:
        notes.append("clone-child")
    group = None
    if image.group:
        notes.append("group")
        key = keys.group(image.group)
        value = catalog.get(key)
        if value is not None:
            record = StoredGroup.decode(key, value)
            group = str(GroupSpec(record.pool, record.namespace, record.name))
    if image.clones and any(kept.namespace == "trash" for _, kept in catalog.snapshots(image_id)):
        notes.append("snap-trash")
    # What says how an image is, and not what it was made to have: told from that, and not kept.
    features = ordered(
        [
            *(feature for feature in image.features if feature != "striping"),
            *(["striping"] if image.striping else []),
            *(["operations"] if notes else []),
        ]
    )
    return {
        "features": features,
        "op_features": tuple(notes),
        "group": group,
        "striping": image.striping,
    }


def parent_of(view: View, link: Link | None, overlap: int) -> ParentInfo | None:
    """What a link points at; None when that is gone."""
    image = view.image_by_id(link.image) if link else None
    if link is None or image is None:
        return None
    snapshot = view.snapshot_by_id(link.image, link.snapshot)
    if snapshot is None:
        return None
    return ParentInfo(
        image.pool, image.namespace, image.name, link.image, snapshot.name, link.snapshot, overlap
    )


def rename(catalog: Catalog, spec: ImageSpec, new: ImageSpec) -> None:
    if (spec.pool, spec.namespace) != (new.pool, new.namespace):
        raise InvalidArgument(
            f"cannot rename {str(spec)!r} to {str(new)!r}: an image keeps its pool",
            hint="copy or clone it into the other pool",
        )

    def decide(change: Change) -> None:
        image_id, image = change.named_image(spec)
        check_free(change, new)
        change.delete(keys.name(image.pool, image.namespace, image.name))
        change.put(keys.name(new.pool, new.namespace, new.image), image_id.encode())
        change.put(keys.image(image_id), image.changed(name=new.image).encode())

    catalog.change(decide)


def resize(catalog: Catalog, spec: ImageSpec, size: int, allow_shrink: bool) -> None:
    check_size(size)

    def decide(change: Change) -> None:
        image_id, image = change.image(spec)
        old = change.kernel.version(image.head).size
        if size < old and not allow_shrink:
            raise InvalidArgument(
                f"{str(spec)!r} has {old} bytes; resizing it to {size} would cut off data",
                hint="allow shrinking if that is meant",
            )
        change.transaction.resize(image.head, size)
        change.put(keys.image(image_id), resized(image, size).encode())

    catalog.change(decide)


def resized(image: StoredImage, size: int) -> StoredImage:
    """The record of an image that now has `size` bytes: what is cut off has no parent behind it again."""
    link = image.parent
    return image.changed(parent=replace(link, overlap=min(link.overlap, size)) if link else None)


def remove(
    catalog: Catalog, spec: ImageSpec, openings: Openings | None, parent_to_trash: bool = False
) -> None:
    """With `openings`, which must be empty of it, only if it is not used."""

    def decide(change: Change) -> None:
        image_id, image = change.named_image(spec)
        kept = parent_to_trash and held_by_clones(catalog, image_id, image)
        if openings is not None:
            check_unused(change, image_id, image.changed(snapshots=0) if kept else image, str(spec), openings)
        if image.group:
            raise InGroup(
                f"image {str(spec)!r} belongs to a group", hint="take it out: `cowshed group image rm`"
            )
        change.delete(keys.name(image.pool, image.namespace, image.name))
        if kept:
            put_in_trash(change, image_id, image, StoredTrash(now(), now(), FOR_CLONES))
        else:
            forget(change, image_id, image, repr(str(spec)))

    catalog.change(decide)


def check_unused(change: Change, image_id: str, image: StoredImage, called: str, openings: Openings) -> None:
    """Raises Busy for an image that someone has open for writing, or that is being moved.

    Raises NotEmpty first for one with snapshots, as RBD does.
    """
    check_no_snapshots(image, repr(called))
    if openings.watchers(image_id):
        raise Busy(f"image {called!r} is open for writing", hint="`cowshed status` tells by whom")
    if change.get(keys.moving(image_id)) is not None:
        raise Busy(f"image {called!r} is being moved", hint="`cowshed migration commit` or `abort` first")


def touch(catalog: Catalog, image_id: str) -> None:
    """Write down that an image was modified; nothing if it is gone."""

    def decide(change: Change) -> None:
        if change.image_by_id(image_id) is not None:
            change.put(keys.times(image_id), StoredTimes(now()).encode())

    catalog.change(decide)
