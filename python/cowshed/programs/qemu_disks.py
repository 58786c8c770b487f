"""Images as disks for a program of qemu's: from `rbd:…` to the URL of an NBD export, for one run's time."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from types import TracebackType
from typing import Self
from urllib.parse import quote

from cowshed.compat.conf import Conf
from cowshed.compat.finding import find
from cowshed.errors import UnsupportedTarget
from cowshed.local.store import LocalStore
from cowshed.programs.nbd_relay import Relay
from cowshed.programs.qemu_names import QemuName
from cowshed.remote import RemoteStore
from cowshed.remote.endpoint import TcpEndpoint, UnixEndpoint
from cowshed.serve.disks import disks_served
from cowshed.store import Store


class Disks:
    """Stores and exports that one run uses; all end with it. A context manager."""

    def __init__(self) -> None:
        self._ending = ExitStack()
        self._stores: dict[tuple[str | None, ...], Store] = {}
        self._sockets: dict[int, str] = {}
        """By the store, the path of the Unix socket where its disks are."""
        self._folder: str | None = None
        self.relays: list[Relay] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    def store(self, conf: Conf) -> Store:
        """The store that a configuration names; the same one where two name the same. Raises as opening."""
        names = tuple(conf.get(key) for key in ("cowshed", "mon_host", "key", "keyfile", "keyring"))
        if names not in self._stores:
            found = find(conf)
            self._ending.callback(found.release)
            self._stores[names] = found.store
        return self._stores[names]

    def url(self, name: QemuName, *, read_only: bool) -> str:
        """Where qemu finds the disk. Raises NotFound, UnsupportedTarget where no disks are served, …"""
        store = self.store(name.conf())
        spec = str(name.spec)
        store.stat(name.spec)  # an image that is missing is told in words; qemu would only say that it failed
        if isinstance(store, LocalStore):
            return _unix(self._served(store), spec)
        assert isinstance(store, RemoteStore)
        if isinstance(store.endpoint, UnixEndpoint):
            for way in store.daemon.nbd:
                if way.startswith("unix:"):
                    return _unix(way.removeprefix("unix:"), spec)
            raise UnsupportedTarget("the daemon serves no disks", hint="start it with --nbd-socket PATH")
        port = _tcp_port(store)
        handle = store.handle(name.spec, read_only=read_only, cached=False)
        self._ending.callback(handle.close, written=not read_only)
        if store.endpoint.tls:
            return _unix(self._relayed(store, store.endpoint, port), handle.export)
        host = f"[{store.endpoint.host}]" if ":" in store.endpoint.host else store.endpoint.host
        return f"nbd://{host}:{port}/{quote(handle.export)}"

    def _served(self, store: LocalStore) -> str:
        if id(store) not in self._sockets:
            path = self._new_socket()
            self._ending.enter_context(disks_served(store, path))
            self._sockets[id(store)] = path
        return self._sockets[id(store)]

    def _relayed(self, store: RemoteStore, endpoint: TcpEndpoint, port: int) -> str:
        if id(store) not in self._sockets:
            path = self._new_socket()
            self.relays.append(self._ending.enter_context(Relay(path, endpoint, port)))
            self._sockets[id(store)] = path
        return self._sockets[id(store)]

    def _new_socket(self) -> str:
        if self._folder is None:
            # For this user alone, as what is served there is.
            self._folder = self._ending.enter_context(tempfile.TemporaryDirectory(prefix="cowshed-"))
        return os.path.join(self._folder, str(len(self._sockets)))  # noqa: PTH118


def _tcp_port(store: RemoteStore) -> int:
    for way in store.daemon.nbd:
        if way.startswith("tcp:"):
            return int(way.rpartition(":")[2])
    raise UnsupportedTarget(
        f"{store.endpoint} serves disks to its own machine only", hint="start it with --nbd-listen HOST:PORT"
    )


def _unix(path: str, export: str) -> str:
    return f"nbd+unix:///{quote(export)}?socket={quote(path)}"
