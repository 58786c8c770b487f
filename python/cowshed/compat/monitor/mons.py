"""The monitors: there is one, where clients enter."""

from __future__ import annotations

import json

from cowshed.compat.monitor.asking import (
    MONITOR,
    NO_ADDRESS,
    RELEASE,
    Asker,
    Fields,
    Made,
    iso_utc,
    made,
    store_id,
)
from cowshed.compat.monitor.state import HEALTH
from cowshed.store import Store

_FEATURES = ["kraken", "luminous", "mimic", "osdmap-prune", "nautilus", "octopus", "pacific"]


def ping(store: Store) -> str:
    """What a monitor says when it is pinged."""
    status = {"name": MONITOR, "rank": 0, "state": "leader", "quorum": [0]}
    status["monmap"] = monmap(store, NO_ADDRESS)
    return json.dumps({"health": HEALTH, "mon_status": status}, indent=4)


def dump(here: Asker, asked: Fields) -> Made:
    return monmap(here.store, here.address()) | {"quorum": [0]}, "dumped monmap epoch 1"


def monmap(store: Store, address: str) -> Fields:
    then = iso_utc(made(store))
    return {
        "epoch": 1,
        "fsid": store_id(store),
        "modified": then,
        "created": then,
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
                "name": MONITOR,
                "public_addrs": {"addrvec": [{"type": "v1", "addr": address, "nonce": 0}]},
                "addr": f"{address}/0",
                "public_addr": f"{address}/0",
                "priority": 0,
                "weight": 0,
                "crush_location": "{}",
            }
        ],
    }


def stat(here: Asker, asked: Fields) -> Made:
    quorum = [{"rank": 0, "name": MONITOR}]
    return {
        "epoch": 1,
        "min_mon_release_name": RELEASE,
        "num_mons": 1,
        "leader": MONITOR,
        "quorum": quorum,
    }, ""


def quorum_status(here: Asker, asked: Fields) -> Made:
    return {
        "election_epoch": 3,
        "quorum": [0],
        "quorum_names": [MONITOR],
        "quorum_leader_name": MONITOR,
        "quorum_age": 0,
        "features": {"quorum_con": "0", "quorum_mon": [*_FEATURES, "elector-pinging"]},
        "monmap": monmap(here.store, here.address()),
    }, ""
