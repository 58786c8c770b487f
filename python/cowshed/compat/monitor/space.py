"""How much there is, and what each pool takes of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from cowshed.compat.monitor.asking import Asker, Fields, Made, pools_by_id
from cowshed.errors import NotFound, PermissionDenied
from cowshed.store import PoolStats, Store

_OBJECT = 4 << 20
"""RBD's objects hold so much by default."""


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """What a pool takes."""

    stored: int
    """Bytes: its images' part of what the store uses."""
    objects: int
    """As many as RBD would make of that, and one for each image."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the client may see of the store's space, in bytes."""

    total: int
    available: int
    pools: dict[str, PoolCounts]
    """By their names."""

    @property
    def used(self) -> int:
        return self.total - self.available

    @property
    def stored(self) -> int:
        return sum(each.stored for each in self.pools.values())

    @property
    def objects(self) -> int:
        return sum(each.objects for each in self.pools.values())


def holdings(store: Store) -> Holdings:
    """Ask for all of it. A client that was let into some pools only sees these, and the room that is left."""
    stats = []
    for pool in store.pools():
        with suppress(NotFound):  # removed meanwhile
            stats.append(store.pool_stats(pool.name))
    referenced = sum(each.referenced for each in stats)
    try:
        facts, used = store.facts(), store.store_usage().used
        total, available = facts.total, facts.available
    except PermissionDenied:
        used, available = referenced, max((each.available for each in stats), default=0)
        total = used + available
    return Holdings(total, available, {each.name: _counts(each, referenced, used) for each in stats})


def _counts(pool: PoolStats, referenced: int, used: int) -> PoolCounts:
    """What images share is the store's once: so what is used is divided among those that reference it."""
    stored = pool.referenced if referenced <= used else pool.referenced * used // referenced
    return PoolCounts(stored, -(-stored // _OBJECT) + pool.images + pool.trash_images)


def pool_counts(store: Store, pool: str) -> PoolCounts:
    """What one pool takes. Raises NotFound."""
    found = holdings(store).pools.get(pool)
    if found is None:
        raise NotFound(f"no pool {pool!r}")
    return found


def cluster_stats(store: Store) -> dict[str, int]:
    """Sizes in KiB, and the number of objects."""
    held = holdings(store)
    return {
        "kb": held.total >> 10,
        "kb_used": held.used >> 10,
        "kb_avail": held.available >> 10,
        "num_objects": held.objects,
    }


def df(here: Asker, asked: Fields) -> Made:
    held = holdings(here.store)
    raw = {
        "total_bytes": held.total,
        "total_avail_bytes": held.available,
        "total_used_bytes": held.used,
        "total_used_raw_bytes": held.used,
        "total_used_raw_ratio": held.used / held.total if held.total else 0.0,
    }
    pools = []
    for pool in pools_by_id(here.store):
        each = held.pools.get(pool.name, PoolCounts(0, 0))
        stats = _stats(each, held.available) | (_details(each, held.available) if asked.get("detail") else {})
        pools.append({"name": pool.name, "id": pool.id, "stats": stats})
    sums = {**raw, "num_osds": 1, "num_per_pool_osds": 1, "num_per_pool_omap_osds": 1}
    return {"stats": sums, "stats_by_class": {"ssd": raw}, "pools": pools}, ""


def _stats(pool: PoolCounts, available: int) -> Fields:
    room = pool.stored + available
    return {
        "stored": pool.stored,
        "objects": pool.objects,
        "kb_used": -(-pool.stored // 1024),
        "bytes_used": pool.stored,
        "percent_used": pool.stored / room if room else 0.0,
        "max_avail": available,
    }


def _details(pool: PoolCounts, available: int) -> Fields:
    return {
        "stored_data": pool.stored,
        "stored_omap": 0,
        "data_bytes_used": pool.stored,
        "omap_bytes_used": 0,
        "quota_objects": 0,
        "quota_bytes": 0,
        "dirty": 0,
        **dict.fromkeys(("rd", "rd_bytes", "wr", "wr_bytes"), 0),
        "compress_bytes_used": 0,
        "compress_under_bytes": 0,
        "stored_raw": pool.stored,
        "avail_raw": available,
    }
