"""How the whole is: well, always."""

from __future__ import annotations

from cowshed.compat.monitor.asking import MONITOR, RELEASE, VERSION, Asker, Fields, Made, iso, made, store_id
from cowshed.compat.monitor.osds import stat_of
from cowshed.compat.monitor.space import holdings

HEALTH: Fields = {"status": "HEALTH_OK", "checks": {}, "mutes": []}


def fsid(here: Asker, asked: Fields) -> Made:
    return {"fsid": store_id(here.store)}, ""


def health(here: Asker, asked: Fields) -> Made:
    return dict(HEALTH), ""


def status(here: Asker, asked: Fields) -> Made:
    held = holdings(here.store)
    return {
        "fsid": store_id(here.store),
        "health": dict(HEALTH),
        "election_epoch": 3,
        "quorum": [0],
        "quorum_names": [MONITOR],
        "quorum_age": 0,
        "monmap": {"epoch": 1, "min_mon_release_name": RELEASE, "num_mons": 1},
        "osdmap": stat_of(here),
        "pgmap": {
            "pgs_by_state": [{"state_name": "active+clean", "count": len(held.pools)}],
            "num_pgs": len(held.pools),
            "num_pools": len(held.pools),
            "num_objects": held.objects,
            "data_bytes": held.stored,
            "bytes_used": held.used,
            "bytes_avail": held.available,
            "bytes_total": held.total,
        },
        "fsmap": {"epoch": 1, "by_rank": [], "up:standby": 0},
        "mgrmap": {"available": True, "num_standbys": 0, "modules": [], "services": {}},
        "servicemap": {"epoch": 1, "modified": iso(made(here.store)), "services": {}},
        "progress_events": {},
    }, ""


def pg_stat(here: Asker, asked: Fields) -> Made:
    held = holdings(here.store)
    return {
        "pg_ready": True,
        "pg_summary": {
            "num_pg_by_state": [{"name": "active+clean", "num": len(held.pools)}],
            "num_pgs": len(held.pools),
            "num_bytes": held.stored,
            "total_bytes": held.total,
            "total_avail_bytes": held.available,
            "total_used_bytes": held.used,
            "total_used_raw_bytes": held.used,
        },
    }, ""


def versions(here: Asker, asked: Fields) -> Made:
    one = {VERSION: 1}
    return {"mon": one, "mgr": one, "osd": one, "mds": {}, "overall": {VERSION: 3}}, ""


def versions_of_one(here: Asker, asked: Fields) -> Made:
    """Of the monitors, or of the OSDs: of either there is one."""
    return {VERSION: 1}, ""


def version(here: Asker, asked: Fields) -> Made:
    return {"version": VERSION}, ""
