"""The pools, and what is asked about them by name."""

from __future__ import annotations

import errno

from cowshed.compat.monitor.asking import Asker, Fields, Made, Refused, iso, pools_by_id
from cowshed.compat.monitor.space import pool_counts
from cowshed.errors import AlreadyExists, CowshedError, NotFound
from cowshed.store import PoolInfo

_POOL_VARIABLES: Fields = {
    "size": 1,
    "min_size": 1,
    "pg_num": 1,
    "pgp_num": 1,
    "crush_rule": "replicated_rule",
    "hashpspool": True,
    "nodelete": False,
    "nopgchange": False,
    "nosizechange": False,
    "write_fadvise_dontneed": False,
    "noscrub": False,
    "nodeep-scrub": False,
    "use_gmt_hitset": True,
    "fast_read": 0,
    "pg_autoscale_mode": "off",
    "bulk": False,
}


def pool_map(pool: PoolInfo) -> Fields:
    """What the OSD map says of a pool, but for its name and number."""
    return {
        "create_time": iso(pool.created),
        "flags": 8193,
        "flags_names": "hashpspool,selfmanaged_snaps",
        "type": 1,
        "size": 1,
        "min_size": 1,
        "crush_rule": 0,
        "object_hash": 2,
        "pg_autoscale_mode": "off",
        "pg_num": 1,
        "pg_placement_num": 1,
        "pg_placement_num_target": 1,
        "pg_num_target": 1,
        "pg_num_pending": 1,
        "last_change": "1",
        "auid": 0,
        "snap_mode": "selfmanaged",
        "snap_seq": 0,
        "snap_epoch": 0,
        "pool_snaps": [],
        "removed_snaps": "[]",
        "quota_max_bytes": 0,
        "quota_max_objects": 0,
        "tiers": [],
        "tier_of": -1,
        "read_tier": -1,
        "write_tier": -1,
        "cache_mode": "none",
        "erasure_code_profile": "",
        "stripe_width": 0,
        "expected_num_objects": 0,
        "fast_read": False,
        "options": {},
        "application_metadata": {"rbd": {}},
    }


def quota(here: Asker, asked: Fields) -> Made:
    pool = here.pool(asked.get("pool"))
    counts = pool_counts(here.store, pool.name)
    return {
        "pool_name": pool.name,
        "pool_id": pool.id,
        "quota_max_objects": 0,
        "current_num_objects": counts.objects,
        "quota_max_bytes": 0,
        "current_num_bytes": counts.stored,
    }, ""


def ls(here: Asker, asked: Fields) -> Made:
    pools = pools_by_id(here.store)
    if asked.get("detail"):
        return [{"pool_id": pool.id, "pool_name": pool.name, **pool_map(pool)} for pool in pools], ""
    return [pool.name for pool in pools], ""


def lspools(here: Asker, asked: Fields) -> Made:
    return [{"poolnum": pool.id, "poolname": pool.name} for pool in pools_by_id(here.store)], ""


def get(here: Asker, asked: Fields) -> Made:
    pool, variable = here.pool(asked.get("pool")), asked.get("var")
    head = {"pool": pool.name, "pool_id": pool.id}
    if variable == "all":
        return head | _POOL_VARIABLES, ""
    if variable not in _POOL_VARIABLES:
        raise Refused(errno.EINVAL, f"invalid variable: {variable!r}")
    return head | {variable: _POOL_VARIABLES[variable]}, ""


def stats(here: Asker, asked: Fields) -> Made:
    name = asked.get("pool_name")
    pools = [here.pool(name)] if name else pools_by_id(here.store)
    idle: Fields = {"recovery": {}, "recovery_rate": {}, "client_io_rate": {}}
    return [{"pool_name": pool.name, "pool_id": pool.id, **idle} for pool in pools], ""


def create(here: Asker, asked: Fields) -> Made:
    name = asked.get("pool")
    try:
        here.store.create_pool(name if isinstance(name, str) else "")
    except AlreadyExists:
        return None, f"pool '{name}' already exists"
    return None, f"pool '{name}' created"


def remove(here: Asker, asked: Fields) -> Made:
    name = asked.get("pool")
    sure = asked.get("yes_i_really_really_mean_it") or asked.get("yes_i_really_really_mean_it_not_faking")
    if asked.get("pool2") != name or not sure:
        raise Refused(
            errno.EPERM,
            f"WARNING: this will *PERMANENTLY DESTROY* all data stored in pool {name}.  If you are"
            " *ABSOLUTELY CERTAIN* that is what you want, pass the pool name *twice*, followed by"
            " --yes-i-really-really-mean-it.",
        )
    try:
        here.store.remove_pool(str(name), with_images=True)
    except NotFound:
        return None, f"pool '{name}' does not exist"
    except CowshedError as error:
        raise Refused(errno.EBUSY, str(error)) from error
    return None, f"pool '{name}' removed"


def application(here: Asker, asked: Fields) -> Made:
    if asked.get("pool"):
        here.pool(asked["pool"])
        return {"rbd": {}}, ""
    return {pool.name: {"rbd": {}} for pool in pools_by_id(here.store)}, ""


def enable_application(here: Asker, asked: Fields) -> Made:
    pool = here.pool(asked.get("pool"))
    return None, f"enabled application '{asked.get('app')}' on pool '{pool.name}'"
