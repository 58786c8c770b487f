"""The OSDs: there is one, that holds the store."""

from __future__ import annotations

import os

from cowshed.compat.monitor.asking import RELEASE, Asker, Fields, Made, iso, made, pools_by_id, store_id
from cowshed.compat.monitor.pools import pool_map
from cowshed.compat.monitor.space import holdings


def stat_of(here: Asker) -> Fields:
    since = int(made(here.store))
    return {
        "epoch": 1,
        "num_osds": 1,
        "num_up_osds": 1,
        "osd_up_since": since,
        "num_in_osds": 1,
        "osd_in_since": since,
        "num_remapped_pgs": 0,
    }


def dump(here: Asker, asked: Fields) -> Made:
    pools = pools_by_id(here.store)
    then = iso(made(here.store))
    return {
        "epoch": 1,
        "fsid": store_id(here.store),
        "created": then,
        "modified": then,
        "last_up_change": then,
        "last_in_change": then,
        "flags": "sortbitwise,recovery_deletes,purged_snapdirs,pglog_hardlimit",
        "flags_num": 5799936,
        "flags_set": ["pglog_hardlimit", "purged_snapdirs", "recovery_deletes", "sortbitwise"],
        "crush_version": 1,
        "full_ratio": 0.95,
        "backfillfull_ratio": 0.9,
        "nearfull_ratio": 0.85,
        "cluster_snapshot": "",
        "pool_max": max((pool.id for pool in pools), default=0),
        "max_osd": 1,
        "require_min_compat_client": "luminous",
        "min_compat_client": "jewel",
        "require_osd_release": RELEASE,
        "pools": [{"pool": pool.id, "pool_name": pool.name, **pool_map(pool)} for pool in pools],
        "osds": [
            {
                "osd": 0,
                "uuid": store_id(here.store),
                "up": 1,
                "in": 1,
                "weight": 1.0,
                "state": ["exists", "up"],
            }
        ],
        "osd_xinfo": [],
        "pg_upmap": [],
        "pg_upmap_items": [],
        "pg_temp": [],
        "primary_temp": [],
        "blocklist": {},
        "erasure_code_profiles": {},
        "removed_snaps_queue": [],
        "new_removed_snaps": [],
        "new_purged_snaps": [],
        "crush_node_flags": {},
        "device_class_flags": {},
    }, ""


def stat(here: Asker, asked: Fields) -> Made:
    return stat_of(here), ""


def ls(here: Asker, asked: Fields) -> Made:
    return [0], ""


def df(here: Asker, asked: Fields) -> Made:
    held = holdings(here.store)
    ratio = 100.0 * held.used / held.total if held.total else 0.0
    sizes = {"kb": held.total >> 10, "kb_used": held.used >> 10, "kb_used_data": held.used >> 10}
    rest = {"kb_used_omap": 0, "kb_used_meta": 0, "kb_avail": held.available >> 10}
    node = {"id": 0, "device_class": "ssd", "name": "osd.0", "type": "osd", "type_id": 0, "depth": 2}
    node |= {"crush_weight": 1.0, "pool_weights": {}, "reweight": 1, **sizes, **rest}
    node |= {"utilization": ratio, "var": 1, "pgs": len(held.pools), "status": "up"}
    summary: Fields = {f"total_{name}": size for name, size in (sizes | rest).items()}
    summary |= {"average_utilization": ratio, "min_var": 1, "max_var": 1, "dev": 0}
    return {"nodes": [node], "stray": [], "summary": summary}, ""


def tree(here: Asker, asked: Fields) -> Made:
    """This machine, with the one."""
    root: Fields = {"id": -1, "name": "default", "type": "root", "type_id": 11, "children": [-3]}
    host = {"id": -3, "name": os.uname().nodename.partition(".")[0], "type": "host", "type_id": 1}
    osd = {"id": 0, "device_class": "ssd", "name": "osd.0", "type": "osd", "type_id": 0}
    osd |= {"crush_weight": 1.0, "depth": 2, "pool_weights": {}, "exists": 1, "status": "up"}
    osd |= {"reweight": 1, "primary_affinity": 1}
    return {"nodes": [root, host | {"pool_weights": {}, "children": [0]}, osd], "stray": []}, ""
