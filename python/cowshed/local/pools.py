"""Pools: named rooms for images."""

from __future__ import annotations

from cowshed.errors import AlreadyExists, NotEmpty
from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change
from cowshed.local.clock import now
from cowshed.local.stored import StoredImage, StoredPool
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
        if catalog.kernel.scan(keys.names_of_pool(name), limit=1):
            raise NotEmpty(f"pool {name!r} holds images", hint="remove them first; `cowshed ls` lists them")
        change.delete(keys.pool(name))

    # Alone, because the emptiness that the scan finds is not covered by any record.
    with catalog.gate.alone():
        catalog.change_within(decide)


def pool_stats(catalog: Catalog, name: str) -> PoolStats:
    catalog.pool(name)
    images = provisioned = snapshots = 0
    for image in images_of_pool(catalog, name):
        images += 1
        snapshots += image.snapshots
        provisioned += catalog.kernel.version(image.head).size
    return PoolStats(name, images, provisioned, snapshots)


def images_of_pool(catalog: Catalog, name: str) -> list[StoredImage]:
    """Records of a pool's images, in whatever namespace."""
    ids = [value.decode() for _, value in catalog.scan(keys.names_of_pool(name))]
    return [image for image in map(catalog.image_by_id, ids) if image is not None]
