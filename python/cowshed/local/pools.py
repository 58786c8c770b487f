"""Pools: named rooms for images."""

from __future__ import annotations

from collections.abc import Iterable

from cowshed._kernel import BLOCK_SIZE
from cowshed.errors import AlreadyExists, Busy, InvalidArgument, NotEmpty
from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change
from cowshed.local.clock import now
from cowshed.local.objects import remove_objects
from cowshed.local.stored import StoredPool
from cowshed.store.records import PoolInfo, PoolStats
from cowshed.store.spec import check_name


def pools(catalog: Catalog) -> list[PoolInfo]:
    found = ((keys.last(key), StoredPool.decode(key, value)) for key, value in catalog.scan(keys.POOLS))
    return [PoolInfo(name, pool.id, pool.created) for name, pool in found]


def create_pool(catalog: Catalog, name: str) -> PoolInfo:
    check_name(name, "pool")

    def decide(change: Change) -> PoolInfo:
        if change.get(keys.pool(name)) is not None:
            raise AlreadyExists(f"pool {name!r} exists already")
        return add_pool(change, name)

    return catalog.change(decide)


def add_pool(change: Change, name: str) -> PoolInfo:
    """Put a pool whose name is known to be free."""
    pool = StoredPool(int(change.get(keys.NEXT_POOL) or b"1"), now())
    change.put(keys.NEXT_POOL, str(pool.id + 1).encode())
    change.put(keys.pool(name), pool.encode())
    return PoolInfo(name, pool.id, pool.created)


def remove_pool(catalog: Catalog, name: str) -> None:
    def decide(change: Change) -> None:
        change.pool(name)
        for prefix, what, verb in (
            (keys.names_of_pool(name), "images", "ls"),
            (keys.trash_of_pool(name), "images in its trash", "trash ls"),
            (keys.group_names_of_pool(name), "groups", "group ls"),
        ):
            if catalog.kernel.scan(prefix, limit=1):
                raise NotEmpty(
                    f"pool {name!r} holds {what}", hint=f"remove them first; `cowshed {verb}` lists them"
                )
        for prefix in (keys.namespaces(name), keys.configs(name), keys.metadata_of_pool(name)):
            for key, _ in catalog.scan(prefix):
                change.delete(key)
        remove_objects(change, name)
        change.delete(keys.pool(name))

    # Alone, because the emptiness that the scan finds is not covered by any record.
    with catalog.gate.alone():
        catalog.change_within(decide)


def namespaces(catalog: Catalog, pool: str) -> list[str]:
    catalog.pool(pool)
    return [keys.last(key) for key, _ in catalog.scan(keys.namespaces(pool))]


def create_namespace(catalog: Catalog, pool: str, name: str) -> None:
    check_name(name, "namespace")

    def decide(change: Change) -> None:
        change.pool(pool)
        if change.get(keys.namespace(pool, name)) is not None:
            raise AlreadyExists(f"namespace {name!r} exists already in pool {pool!r}")
        change.put(keys.namespace(pool, name), b"")

    catalog.change(decide)


def remove_namespace(catalog: Catalog, pool: str, name: str) -> None:
    def decide(change: Change) -> None:
        if not name:
            raise InvalidArgument("a pool's own namespace cannot be removed")
        change.place(pool, name)
        for prefix, what in (
            (keys.names(pool, name), "images"),
            (keys.trash(pool, name), "images in its trash"),
            (keys.group_names(pool, name), "groups"),
        ):
            if catalog.kernel.scan(prefix, limit=1):
                raise Busy(f"namespace {name!r} of pool {pool!r} holds {what}", hint="remove them first")
        change.delete(keys.namespace(pool, name))

    # Alone, because the emptiness that the scan finds is not covered by any record.
    with catalog.gate.alone():
        catalog.change_within(decide)


def pool_stats(catalog: Catalog, name: str, namespace: str | None, available: int) -> PoolStats:
    if namespace is None:
        catalog.pool(name)
        names, trash = keys.names_of_pool(name), keys.trash_of_pool(name)
    else:
        catalog.place(name, namespace)
        names, trash = keys.names(name, namespace), keys.trash(name, namespace)
    named = _counted(catalog, (value.decode() for _, value in catalog.scan(names)))
    trashed = _counted(catalog, (keys.last(key) for key, _ in catalog.scan(trash)))
    return PoolStats(name, *named[:3], *trashed[:3], referenced=named[3] + trashed[3], available=available)


def _counted(catalog: Catalog, image_ids: Iterable[str]) -> tuple[int, int, int, int]:
    """How many images, what sizes they have together, how many snapshots, what bytes are mapped."""
    images = provisioned = snapshots = referenced = 0
    for image in map(catalog.image_by_id, image_ids):
        if image is not None:
            images += 1
            snapshots += image.snapshots
            head = catalog.kernel.version(image.head)
            provisioned += head.size
            referenced += head.mapped_blocks * BLOCK_SIZE
    return images, provisioned, snapshots, referenced
