"""What a cluster's monitor would answer, made from a store: for `Rados.mon_command` and the program `ceph`.

The "cluster" is one monitor and one OSD that are always well; what it holds is the store's. Placement groups,
CRUSH and the like have the plainest values that those who read them accept.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cowshed.compat.addresses import parse_mon_host, reachable
from cowshed.compat.conf import Conf, normal
from cowshed.compat.plain import plain
from cowshed.errors import AlreadyExists, CowshedError, NotFound
from cowshed.remote import RemoteStore
from cowshed.store import PoolInfo, Store

RELEASE = "pacific"
VERSION = "ceph version 16.2.15 (cowshed) pacific (stable)"
"""The release whose answers these are shaped as."""
_OBJECT = 4 << 20
"""RBD's objects hold so much by default."""
_NO_ADDRESS = "127.0.0.1:6789"

Answer = tuple[int, bytes, str]
"""0 or `-errno`; what is answered; what is said besides."""
Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PoolCounts:
    """What a pool takes."""

    stored: int
    """Bytes: its images' part of what the store uses."""
    objects: int
    """As many as RBD would make of that, and one for each image."""


class Refused(Exception):
    """A command's own refusal."""

    def __init__(self, number: int, said: str) -> None:
        super().__init__(said)
        self.number = number
        self.said = said


def answer(store: Store, conf: Conf, command: str) -> Answer:
    """Answer a command as the monitor does: JSON with `prefix`, its arguments, and maybe `format`.

    CowshedErrors of the store are raised; what the command itself refuses is answered.
    """
    try:
        asked = json.loads(command)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        return -errno.EINVAL, b"", f"unparseable JSON {command}"
    prefix = asked.get("prefix")
    if not isinstance(prefix, str):
        return -errno.EINVAL, b"", "command prefix not found"
    make = _COMMANDS.get(prefix)
    if make is None:
        return -errno.EINVAL, b"", "command not known"
    try:
        found, said = make(Monitor(store, conf), asked)
    except Refused as refused:
        return -refused.number, b"", refused.said
    if found is None:
        return 0, b"", said
    if asked.get("format") in ("json", "json-pretty"):
        pretty = asked["format"] == "json-pretty"
        text = json.dumps(found, indent=4 if pretty else None, separators=None if pretty else (",", ":"))
    else:
        text = plain(prefix, found)
    return 0, f"{text}\n".encode(), said


def pools_by_id(store: Store) -> list[PoolInfo]:
    """Pools in the order of their making, as a cluster lists them."""
    return sorted(store.pools(), key=lambda pool: pool.id)


def pool_counts(store: Store, pool: str) -> PoolCounts:
    """What one pool takes."""
    return _counts(store)[pool]


def _counts(store: Store) -> dict[str, PoolCounts]:
    """What each pool takes. What images share is the store's once: so it is divided among them."""
    stats = [store.pool_stats(pool.name) for pool in store.pools()]
    used = store.store_usage().used
    total = sum(each.referenced for each in stats)
    found = {}
    for each in stats:
        stored = each.referenced if total <= used else each.referenced * used // total
        objects = -(-stored // _OBJECT) + each.images + each.trash_images
        found[each.name] = PoolCounts(stored, objects)
    return found


def cluster_stats(store: Store) -> dict[str, int]:
    """Sizes in KiB, and the number of objects."""
    facts = store.facts()
    return {
        "kb": facts.total >> 10,
        "kb_used": (facts.total - facts.available) >> 10,
        "kb_avail": facts.available >> 10,
        "num_objects": sum(each.objects for each in _counts(store).values()),
    }


def ping(store: Store) -> str:
    """What a monitor says when it is pinged."""
    status = {"name": "a", "rank": 0, "state": "leader", "quorum": [0]}
    status["monmap"] = _monmap(store, _NO_ADDRESS)
    return json.dumps({"health": _HEALTH, "mon_status": status}, indent=4)


class Monitor:
    """Who answers: the store, and the asking client's configuration."""

    def __init__(self, store: Store, conf: Conf) -> None:
        self.store = store
        self.conf = conf

    def address(self) -> str:
        """Where a client enters: what it used itself, or what the daemon says."""
        if given := self.conf.given("mon_host"):
            return str(parse_mon_host(given)[0])
        if isinstance(self.store, RemoteStore):
            for place in reachable(self.store.daemon.api):
                return str(place)
        target = re.fullmatch(r"cowshed://([^/?]+).*", self.store.target)
        return target[1] if target else _NO_ADDRESS

    def pool(self, name: object) -> PoolInfo:
        """The pool that a command names. Raises Refused."""
        for pool in self.store.pools():
            if pool.name == name:
                return pool
        raise Refused(errno.ENOENT, f"unrecognized pool '{name if name is not None else ''}'")


Made = tuple[Any, str]
"""What is answered (None: nothing), and what is said besides."""
_HEALTH: Fields = {"status": "HEALTH_OK", "checks": {}, "mutes": []}
_FEATURES = ["kraken", "luminous", "mimic", "osdmap-prune", "nautilus", "octopus", "pacific"]


def _df(here: Monitor, asked: Fields) -> Made:
    facts, counts = here.store.facts(), _counts(here.store)
    used = facts.total - facts.available
    raw = {
        "total_bytes": facts.total,
        "total_avail_bytes": facts.available,
        "total_used_bytes": used,
        "total_used_raw_bytes": used,
        "total_used_raw_ratio": used / facts.total if facts.total else 0.0,
    }
    pools = []
    for pool in pools_by_id(here.store):
        each = counts.get(pool.name, PoolCounts(0, 0))
        room = each.stored + facts.available
        stats: Fields = {
            "stored": each.stored,
            "objects": each.objects,
            "kb_used": -(-each.stored // 1024),
            "bytes_used": each.stored,
            "percent_used": each.stored / room if room else 0.0,
            "max_avail": facts.available,
        }
        if asked.get("detail"):
            stats |= {
                "stored_data": each.stored,
                "stored_omap": 0,
                "data_bytes_used": each.stored,
                "omap_bytes_used": 0,
                "quota_objects": 0,
                "quota_bytes": 0,
                "dirty": 0,
                **dict.fromkeys(("rd", "rd_bytes", "wr", "wr_bytes"), 0),
                "compress_bytes_used": 0,
                "compress_under_bytes": 0,
                "stored_raw": each.stored,
                "avail_raw": facts.available,
            }
        pools.append({"name": pool.name, "id": pool.id, "stats": stats})
    sums = {**raw, "num_osds": 1, "num_per_pool_osds": 1, "num_per_pool_omap_osds": 1}
    return {"stats": sums, "stats_by_class": {"ssd": raw}, "pools": pools}, ""


def _quota(here: Monitor, asked: Fields) -> Made:
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


def _pool_ls(here: Monitor, asked: Fields) -> Made:
    pools = pools_by_id(here.store)
    if asked.get("detail"):
        return [{"pool_id": pool.id, "pool_name": pool.name, **_pool_map(pool)} for pool in pools], ""
    return [pool.name for pool in pools], ""


def _lspools(here: Monitor, asked: Fields) -> Made:
    return [{"poolnum": pool.id, "poolname": pool.name} for pool in pools_by_id(here.store)], ""


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


def _pool_get(here: Monitor, asked: Fields) -> Made:
    pool, variable = here.pool(asked.get("pool")), asked.get("var")
    head = {"pool": pool.name, "pool_id": pool.id}
    if variable == "all":
        return head | _POOL_VARIABLES, ""
    if variable not in _POOL_VARIABLES:
        raise Refused(errno.EINVAL, f"invalid variable: {variable!r}")
    return head | {variable: _POOL_VARIABLES[variable]}, ""


def _pool_stats(here: Monitor, asked: Fields) -> Made:
    name = asked.get("pool_name")
    pools = [here.pool(name)] if name else pools_by_id(here.store)
    idle: Fields = {"recovery": {}, "recovery_rate": {}, "client_io_rate": {}}
    return [{"pool_name": pool.name, "pool_id": pool.id, **idle} for pool in pools], ""


def _pool_create(here: Monitor, asked: Fields) -> Made:
    name = asked.get("pool")
    try:
        here.store.create_pool(name if isinstance(name, str) else "")
    except AlreadyExists:
        return None, f"pool '{name}' already exists"
    return None, f"pool '{name}' created"


def _pool_remove(here: Monitor, asked: Fields) -> Made:
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


def _application(here: Monitor, asked: Fields) -> Made:
    if asked.get("pool"):
        here.pool(asked["pool"])
        return {"rbd": {}}, ""
    return {pool.name: {"rbd": {}} for pool in pools_by_id(here.store)}, ""


def _application_enable(here: Monitor, asked: Fields) -> Made:
    pool = here.pool(asked.get("pool"))
    return None, f"enabled application '{asked.get('app')}' on pool '{pool.name}'"


def _mon_dump(here: Monitor, asked: Fields) -> Made:
    return _monmap(here.store, here.address()) | {"quorum": [0]}, "dumped monmap epoch 1"


def _monmap(store: Store, address: str) -> Fields:
    made = _iso_utc(_made(store))
    return {
        "epoch": 1,
        "fsid": store.facts().id,
        "modified": made,
        "created": made,
        "min_mon_release": 16,
        "min_mon_release_name": RELEASE,
        "election_strategy": 1,
        "disallowed_leaders: ": "",
        "stretch_mode": False,
        "tiebreaker_mon": "",
        "removed_ranks: ": "",
        "features": {"persistent": [*_FEATURES, "elector-pinging"], "optional": []},
        "mons": [
            {
                "rank": 0,
                "name": "a",
                "public_addrs": {"addrvec": [{"type": "v1", "addr": address, "nonce": 0}]},
                "addr": f"{address}/0",
                "public_addr": f"{address}/0",
                "priority": 0,
                "weight": 0,
                "crush_location": "{}",
            }
        ],
    }


def _mon_stat(here: Monitor, asked: Fields) -> Made:
    quorum = [{"rank": 0, "name": "a"}]
    return {
        "epoch": 1,
        "min_mon_release_name": RELEASE,
        "num_mons": 1,
        "leader": "a",
        "quorum": quorum,
    }, ""


def _quorum_status(here: Monitor, asked: Fields) -> Made:
    return {
        "election_epoch": 3,
        "quorum": [0],
        "quorum_names": ["a"],
        "quorum_leader_name": "a",
        "quorum_age": 0,
        "features": {"quorum_con": "0", "quorum_mon": [*_FEATURES, "elector-pinging"]},
        "monmap": _monmap(here.store, here.address()),
    }, ""


def _fsid(here: Monitor, asked: Fields) -> Made:
    return {"fsid": here.store.facts().id}, ""


def _health(here: Monitor, asked: Fields) -> Made:
    return dict(_HEALTH), ""


def _osd_stat_of(here: Monitor) -> Fields:
    since = int(_made(here.store))
    return {
        "epoch": 1,
        "num_osds": 1,
        "num_up_osds": 1,
        "osd_up_since": since,
        "num_in_osds": 1,
        "osd_in_since": since,
        "num_remapped_pgs": 0,
    }


def _status(here: Monitor, asked: Fields) -> Made:
    facts, counts = here.store.facts(), _counts(here.store)
    return {
        "fsid": facts.id,
        "health": dict(_HEALTH),
        "election_epoch": 3,
        "quorum": [0],
        "quorum_names": ["a"],
        "quorum_age": 0,
        "monmap": {"epoch": 1, "min_mon_release_name": RELEASE, "num_mons": 1},
        "osdmap": _osd_stat_of(here),
        "pgmap": {
            "pgs_by_state": [{"state_name": "active+clean", "count": len(counts)}],
            "num_pgs": len(counts),
            "num_pools": len(counts),
            "num_objects": sum(each.objects for each in counts.values()),
            "data_bytes": sum(each.stored for each in counts.values()),
            "bytes_used": facts.total - facts.available,
            "bytes_avail": facts.available,
            "bytes_total": facts.total,
        },
        "fsmap": {"epoch": 1, "by_rank": [], "up:standby": 0},
        "mgrmap": {"available": True, "num_standbys": 0, "modules": [], "services": {}},
        "servicemap": {"epoch": 1, "modified": _iso(_made(here.store)), "services": {}},
        "progress_events": {},
    }, ""


def _pool_map(pool: PoolInfo) -> Fields:
    """What the OSD map says of a pool, but for its name and number."""
    return {
        "create_time": _iso(pool.created),
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


def _osd_dump(here: Monitor, asked: Fields) -> Made:
    pools = pools_by_id(here.store)
    made = _iso(_made(here.store))
    return {
        "epoch": 1,
        "fsid": here.store.facts().id,
        "created": made,
        "modified": made,
        "last_up_change": made,
        "last_in_change": made,
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
        "pools": [{"pool": pool.id, "pool_name": pool.name, **_pool_map(pool)} for pool in pools],
        "osds": [
            {
                "osd": 0,
                "uuid": here.store.facts().id,
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


def _osd_stat(here: Monitor, asked: Fields) -> Made:
    return _osd_stat_of(here), ""


def _osd_ls(here: Monitor, asked: Fields) -> Made:
    return [0], ""


def _osd_df(here: Monitor, asked: Fields) -> Made:
    facts = here.store.facts()
    used = facts.total - facts.available
    ratio = 100.0 * used / facts.total if facts.total else 0.0
    sizes = {"kb": facts.total >> 10, "kb_used": used >> 10, "kb_used_data": used >> 10}
    rest = {"kb_used_omap": 0, "kb_used_meta": 0, "kb_avail": facts.available >> 10}
    node = {"id": 0, "device_class": "ssd", "name": "osd.0", "type": "osd", "type_id": 0, "depth": 2}
    node |= {"crush_weight": 1.0, "pool_weights": {}, "reweight": 1, **sizes, **rest}
    node |= {"utilization": ratio, "var": 1, "pgs": len(here.store.pools()), "status": "up"}
    summary: Fields = {f"total_{name}": size for name, size in (sizes | rest).items()}
    summary |= {"average_utilization": ratio, "min_var": 1, "max_var": 1, "dev": 0}
    return {"nodes": [node], "stray": [], "summary": summary}, ""


def _versions(here: Monitor, asked: Fields) -> Made:
    one = {VERSION: 1}
    return {"mon": one, "mgr": one, "osd": one, "mds": {}, "overall": {VERSION: 3}}, ""


def _version(here: Monitor, asked: Fields) -> Made:
    return {"version": VERSION}, ""


def _config_get(here: Monitor, asked: Fields) -> Made:
    key = asked.get("key")
    found = here.conf.get(normal(key)) if isinstance(key, str) else None
    if found is None:
        raise Refused(errno.ENOENT, f"unrecognized key '{key}'")
    return (int(found) if found.isdecimal() else found), ""


def _blocklist(here: Monitor, asked: Fields) -> Made:
    return [], "listed 0 entries"


def _blocklist_add(here: Monitor, asked: Fields) -> Made:
    return None, f"blocklisting {asked.get('addr', '')}"


_COMMANDS: dict[str, Callable[[Monitor, Fields], Made]] = {
    "df": _df,
    "osd pool get-quota": _quota,
    "osd pool ls": _pool_ls,
    "osd lspools": _lspools,
    "osd pool get": _pool_get,
    "osd pool stats": _pool_stats,
    "osd pool create": _pool_create,
    "osd pool rm": _pool_remove,
    "osd pool delete": _pool_remove,
    "osd pool application get": _application,
    "osd pool application enable": _application_enable,
    "mon dump": _mon_dump,
    "mon stat": _mon_stat,
    "quorum_status": _quorum_status,
    "fsid": _fsid,
    "status": _status,
    "health": _health,
    "osd dump": _osd_dump,
    "osd stat": _osd_stat,
    "osd ls": _osd_ls,
    "osd df": _osd_df,
    "versions": _versions,
    "version": _version,
    "config get": _config_get,
    "osd blocklist ls": _blocklist,
    "osd blacklist ls": _blocklist,
    "osd blocklist": _blocklist_add,
    "osd blacklist": _blocklist_add,
}


def _made(store: Store) -> float:
    """When the first of its pools was made, for want of the store's own time."""
    return min((pool.created for pool in store.pools()), default=0.0)


def _iso(seconds: float) -> str:
    """As the OSD map writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


def _iso_utc(seconds: float) -> str:
    """As the monitors' map writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
