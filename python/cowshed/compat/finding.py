"""From a client's configuration to the open store that it means.

    cowshed = /srv/cowshed               the path of a store, or cowshed://HOST:PORT
    mon_host = 10.0.0.1:7480             else a daemon's address, with the key of the keyring

The key `cowshed` may stand in any section that applies. In one process all clients of a path that no daemon
serves share one open store, as only one may own it; each is a client of its own in locks and among watchers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from cowshed import native
from cowshed.compat.conf import Conf
from cowshed.errors import NotFound
from cowshed.opening import open as open_store
from cowshed.remote import RemoteStore
from cowshed.store import Store

if TYPE_CHECKING:
    from cowshed.local.store import LocalStore

_PATIENCE_SECONDS = 5.0
"""How long to wait for a store that another process owns, when the caller does not say."""


@dataclass(frozen=True, slots=True)
class Found:
    """An open store, and how to let go of it."""

    store: Store
    release: Callable[[], None]


def find(conf: Conf, timeout_seconds: float = 0.0) -> Found:
    """Open the store that a configuration names.

    Raises NotFound where it names none (or no key for its daemon), and what `cowshed.open` raises.
    """
    target = conf.given("cowshed")
    if target:
        return _opened(target, timeout_seconds or _PATIENCE_SECONDS)
    addresses = conf.given("mon_host")
    if not addresses:
        raise NotFound(
            "the configuration names no store",
            hint="write `cowshed = PATH` in ceph.conf, or `mon_host` of a daemon",
        )
    from cowshed.compat.entrance import connect
    from cowshed.compat.keyring import find_key

    store = connect(addresses, find_key(conf))
    return Found(store, store.close)


class _Shared:
    """The stores that this process itself owns for its clients."""

    def __init__(self) -> None:
        self._lock = native.lock()
        self._open: dict[str, tuple[LocalStore, int]] = {}
        self._left: list[object] = []
        os.register_at_fork(after_in_child=self._forget)

    def opened(self, target: str, timeout_seconds: float) -> Found:
        if "://" in target:
            store = open_store(target)
            return Found(store, store.close)
        path = os.path.realpath(target)
        with self._lock:
            if path in self._open:
                return self._another(path)
            store = open_store(path, wait_seconds=timeout_seconds, owner="a program that uses librbd's API")
            if isinstance(store, RemoteStore):
                return Found(store, store.close)
            self._open[path] = cast("LocalStore", store), 0
            return self._another(path)

    def _another(self, path: str) -> Found:
        from cowshed.local.clients import this_process

        store, users = self._open[path]
        self._open[path] = store, users + 1
        return Found(store.acting_for(this_process()), lambda: self._release(path))

    def _release(self, path: str) -> None:
        with self._lock:
            store, users = self._open.pop(path)
            if users > 1:
                self._open[path] = store, users - 1
            else:
                store.close()

    def _forget(self) -> None:
        """In a forked child: the parent's stores are not this process's, nor must they be closed here."""
        self._left.append(self._open)
        self._open = {}
        self._lock = native.lock()


_opened = _Shared().opened
