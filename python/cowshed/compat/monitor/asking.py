"""Who asks the monitor, what comes back, and the few facts that many answers hold."""

from __future__ import annotations

import errno
import re
from datetime import UTC, datetime
from typing import Any

from cowshed.compat.addresses import parse_mon_host, reachable
from cowshed.compat.conf import Conf
from cowshed.remote import RemoteStore
from cowshed.store import PoolInfo, Store

RELEASE = "pacific"
VERSION = "ceph version 16.2.15 (cowshed) pacific (stable)"
"""The release whose answers these are shaped as."""
MONITOR = "a"
"""The name of the one monitor."""
NO_ADDRESS = "127.0.0.1:6789"

Fields = dict[str, Any]
Made = tuple[Any, str]
"""What is answered (None: nothing), and what is said besides."""


class Refused(Exception):
    """A command's own refusal."""

    def __init__(self, number: int, said: str) -> None:
        super().__init__(said)
        self.number = number
        self.said = said


class Asker:
    """The store that is asked about, and the asking client's configuration."""

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
        return target[1] if target else NO_ADDRESS

    def pool(self, name: object) -> PoolInfo:
        """The pool that a command names. Raises Refused."""
        for pool in self.store.pools():
            if pool.name == name:
                return pool
        raise Refused(errno.ENOENT, f"unrecognized pool '{name if name is not None else ''}'")


def store_id(store: Store) -> str:
    """The cluster's fsid. A daemon tells it to every client, be it let into some pools only."""
    if isinstance(store, RemoteStore) and store.store_id:
        return store.store_id
    return store.facts().id


def pools_by_id(store: Store) -> list[PoolInfo]:
    """Pools in the order of their making, as a cluster lists them."""
    return sorted(store.pools(), key=lambda pool: pool.id)


def made(store: Store) -> float:
    """When the first of its pools was made, for want of the store's own time."""
    return min((pool.created for pool in store.pools()), default=0.0)


def iso(seconds: float) -> str:
    """As the OSD map writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000")


def iso_utc(seconds: float) -> str:
    """As the monitors' map writes times."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
