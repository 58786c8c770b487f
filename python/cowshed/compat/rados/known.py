"""The pools that are known to be there, as a client of Ceph knows them by its map of the cluster.

A driver makes a client and opens a pool for every single operation. So what a daemon was asked is remembered
for a while, for all clients of this process that reach it the same way; a pool that is not known is asked
for. One that was deleted elsewhere meanwhile is missed by the first call that uses it, with ENOENT too, as
by a client whose map is old.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from cowshed.remote import RemoteStore
from cowshed.remote.endpoint import Endpoint
from cowshed.store import Store

KNOWN_SECONDS = 30.0


class KnownPools:
    """Of daemons only: a store of this process is quickly asked."""

    def __init__(self) -> None:
        # By who reaches it, too: a token may see some pools only.
        self._names: dict[Endpoint, tuple[float, frozenset[str]]] = {}

    def learn(self, store: Store, names: Iterable[str]) -> None:
        """These are there now, and no others."""
        if isinstance(store, RemoteStore):
            self._names[store.endpoint] = time.monotonic() + KNOWN_SECONDS, frozenset(names)

    def has(self, store: Store, name: str) -> bool:
        """Whether it was there a while ago."""
        if not isinstance(store, RemoteStore):
            return False
        until, names = self._names.get(store.endpoint, (0.0, frozenset()))
        return name in names and time.monotonic() < until

    def forget(self, store: Store) -> None:
        """Something is different now."""
        if isinstance(store, RemoteStore):
            self._names.pop(store.endpoint, None)


KNOWN = KnownPools()
"""Of this process."""
