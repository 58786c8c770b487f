"""`Rados`: one client of a "cluster", which is a cowshed store."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self

from cowshed.compat import monitor
from cowshed.compat.addresses import is_client_address
from cowshed.compat.conf import Conf, cluster_of_file, normal
from cowshed.compat.finding import Found, find
from cowshed.compat.rados.errors import (
    Error,
    ObjectNotFound,
    RadosStateError,
    asking,
    make_ex,
    name_bytes,
    name_text,
)
from cowshed.compat.rados.ioctx import Ioctx
from cowshed.compat.rados.known import KNOWN
from cowshed.errors import (
    CowshedError,
    Disconnected,
    IOFailure,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    StoreLocked,
)
from cowshed.process import Home
from cowshed.store import PoolInfo, Store
from cowshed.store.features import NAMES, parse_features

_FIXED = frozenset({"cowshed", "mon_host", "key", "keyfile", "keyring", "fsid", "ms_type", "monmap"})
"""Keys that a connected client does not take."""
_UNKNOWN = "unknown command prefix {}"


class Version:
    """The version of librados whose calls these are."""

    def __init__(self, major: int, minor: int, extra: int) -> None:
        self.major = major
        self.minor = minor
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.extra}"


class Rados:
    """A client. `configuring` until `connect`, `connected`, and in the end `shutdown`."""

    NO_CONF_FILE: ClassVar[int] = -1
    """As `conffile`: read none."""
    DEFAULT_CONF_FILES: ClassVar[int] = -2
    """As `conffile`: read the first that is there of the usual ones."""

    def __init__(
        self,
        rados_id: str | None = None,
        name: str | None = None,
        clustername: str | None = None,
        conf_defaults: Mapping[str, str] | None = None,
        conffile: str | int | None = NO_CONF_FILE,
        conf: Mapping[str, str] | None = None,
        flags: int = 0,
        context: object = None,
    ) -> None:
        if rados_id and name:
            raise Error("Rados(): can't supply both rados_id and name")
        if rados_id:
            name = "client." + rados_id
        name_text(name, "name", opt=True)
        kind, dot, client = (name or "client.admin").partition(".")
        if not dot or not client:
            raise Error("rados_initialize failed with error code: -22")
        self._conf = Conf(cluster=name_text(clustername, "clustername", opt=True), kind=kind, id=client)
        self._found: Found | None = None
        self._home = Home()
        self.rados_id = client
        self.conf_defaults = conf_defaults
        self.conffile = conffile
        self.conf = conf
        self.parsed_args: Sequence[str] = []
        self.state = "configuring"
        self._is_daemon = False
        for key, value in conf_defaults.items() if conf_defaults else ():
            self.conf_set(key, value)
        if conffile in (self.DEFAULT_CONF_FILES, ""):
            self.conf_read_file(None)
        elif conffile not in (self.NO_CONF_FILE, None):
            self.conf_read_file(conffile)  # type: ignore[arg-type]  # it says so itself
        for key, value in conf.items() if conf else ():
            self.conf_set(key, value)

    # --- configuration

    def conf_read_file(self, path: str | None = None) -> None:
        """Read a ceph.conf, or the usual one. Raises ObjectNotFound, InvalidArgumentError."""
        self.require_state("configuring", "connected")
        name_text(path, "path", opt=True)
        what = "error calling conf_read_file"
        if self.state == "connected":
            raise make_ex(errno.ENOSYS, what)
        with asking(what):
            if path:
                self._name_cluster(path)
                self._conf.read_file(path)
                return
            for place in self._conf.default_files():
                if Path(place).exists():
                    self._name_cluster(place)
                    self._conf.read_file(place)
                    return
            raise NotFound("there is no ceph.conf in the usual places")

    def _name_cluster(self, path: str) -> None:
        """A cluster that was not named is called as its file."""
        if not self._conf.cluster:
            self._conf.cluster = cluster_of_file(path)

    def conf_parse_argv(self, args: Sequence[str]) -> list[str]:
        """Take the options that are the configuration's out of a command line; returns the rest."""
        self.require_state("configuring", "connected")
        self.parsed_args = args
        with asking("error calling conf_parse_argv_remainder"):
            return self._conf.parse_arguments([name_text(arg, "args") for arg in args])

    def conf_parse_env(self, var: str | None = "CEPH_ARGS") -> None:
        """Take the options of an environment variable."""
        self.require_state("configuring", "connected")
        with asking("error calling conf_parse_env"):
            self._conf.parse_environment(name_text(var, "var", opt=True) or "CEPH_ARGS")

    def conf_get(self, option: str) -> str | None:
        """The value that holds; None for an option that is not known."""
        self.require_state("configuring", "connected")
        key = normal(name_text(option, "option"))
        found = self._conf.get(key)
        if key == "rbd_default_features" and found is not None:
            return str(sum(1 << NAMES.index(feature) for feature in parse_features(found)))
        return found

    def conf_set(self, option: str, val: str) -> None:
        """Raises ObjectNotFound for an option that is not known, InvalidArgumentError for a value."""
        self.require_state("configuring", "connected")
        key, what = normal(name_text(option, "option")), "error calling conf_set"
        name_text(val, "val")
        if self.state == "connected" and key in _FIXED:
            raise make_ex(errno.EPERM, what)
        try:
            with asking(what):
                self._conf.set(key, val)
        except KeyError:
            raise make_ex(errno.ENOENT, what) from None

    # --- connection

    def require_state(self, *args: str) -> None:
        """Raises RadosStateError unless the state is one of these, and in a process forked from it."""
        if self.state not in args:
            raise RadosStateError(
                f"You cannot perform that operation on a Rados object in state {self.state}."
            )
        if self._found is not None and not self._home.is_here:
            raise RadosStateError(
                f"process {self._home.pid} connected, and this is a fork of it: connect anew here"
            )

    def connect(self, timeout: int = 0) -> None:
        """Open the store that the configuration names; wait `timeout` seconds at most where it is busy.

        Raises ObjectNotFound, PermissionDeniedError, TimedOut, and others by their errno.
        """
        self.require_state("configuring")
        if not isinstance(timeout, int):
            raise TypeError("an integer is required")
        what = "error connecting to the cluster"
        try:
            self._found = find(self._conf, timeout)
        except CowshedError as error:
            raise make_ex(_refusal(error), f"{what}: {error}") from error
        self._home = Home()
        self.state = "connected"

    def shutdown(self) -> None:
        """Let go of the store. May be called again."""
        found, self._found = self._found, None
        self.state = "shutdown"
        if found is not None and self._home.is_here:
            with asking("error shutting down"):
                found.release()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        self.shutdown()
        return False

    @property
    def store(self) -> Store:
        """The open store. Raises RadosStateError."""
        self.require_state("connected")
        assert self._found is not None
        return self._found.store

    @property
    def configuration(self) -> Conf:
        """What holds for this client, as an object of its own kind."""
        return self._conf

    def version(self) -> Version:
        """Of librados."""
        return Version(3, 0, 0)

    # --- the cluster

    def get_fsid(self) -> str:
        """The store's id."""
        self.require_state("connected")
        with asking("error getting cluster fsid"):
            return monitor.store_id(self.store)

    def get_cluster_stats(self) -> dict[str, int]:
        """Sizes in KiB: `kb`, `kb_used`, `kb_avail`; and `num_objects`."""
        self.require_state("connected")
        with asking(f"Rados.get_cluster_stats({self.rados_id}): get_stats failed"):
            return monitor.cluster_stats(self.store)

    def get_instance_id(self) -> int:
        """The number of this client, which no other has."""
        return int(self.store.client.partition(".")[2])

    def get_addrs(self) -> str:
        """An address that stands for this client."""
        return f"127.0.0.1:0/{self.get_instance_id() & 0xFFFFFFFF}"

    def wait_for_latest_osdmap(self) -> int:
        """There is nothing to wait for."""
        self.require_state("connected")
        return 0

    def blocklist_add(self, client_address: str, expire_seconds: int = 0) -> None:
        """Keep a client out. Nothing is done: one whose lock is broken cannot write in any case.

        Raises InvalidArgumentError for what is no address.
        """
        self.require_state("connected")
        if not is_client_address(name_text(client_address, "client_address")):
            raise make_ex(errno.EINVAL, f"error blocklisting client '{client_address}'")

    def ping_monitor(self, mon_id: str) -> str:
        """What the monitor says of itself, as JSON."""
        self.require_state("connected")
        if name_text(mon_id, "mon_id") != monitor.MONITOR:
            raise make_ex(errno.ENOENT, f"error calling ping_monitor ({mon_id})")
        with asking(f"error calling ping_monitor ({mon_id})"):
            return monitor.ping(self.store)

    # --- pools

    def list_pools(self) -> list[str]:
        """Names, in the order of their making."""
        self.require_state("connected")
        with asking("error listing pools"):
            return [pool.name for pool in monitor.pools_by_id(self.store)]

    def pool_exists(self, pool_name: str) -> bool:
        self.require_state("connected")
        return self._pool(lambda pool: pool.name == name_text(pool_name, "pool_name")) is not None

    def pool_lookup(self, pool_name: str) -> int | None:
        """The pool's id; None if it is not there."""
        self.require_state("connected")
        found = self._pool(lambda pool: pool.name == name_text(pool_name, "pool_name"))
        return None if found is None else found.id

    def pool_reverse_lookup(self, pool_id: int) -> str | None:
        """The name of the pool with an id; None if it is not there."""
        self.require_state("connected")
        found = self._pool(lambda pool: pool.id == pool_id)
        return None if found is None else found.name

    def create_pool(self, pool_name: str, crush_rule: int | None = None, auid: int | None = None) -> None:
        """Raises ObjectExists, InvalidArgumentError."""
        self.require_state("connected")
        with asking(f"error creating pool '{name_text(pool_name, 'pool_name')}'"):
            self.store.create_pool(pool_name)

    def delete_pool(self, pool_name: str) -> None:
        """With all that it holds, as a cluster whose `mon_allow_pool_delete` is on. Raises ObjectNotFound."""
        self.require_state("connected")
        with asking(f"error deleting pool '{name_text(pool_name, 'pool_name')}'"):
            KNOWN.forget(self.store)
            self.store.remove_pool(pool_name, with_images=True)
            KNOWN.forget(self.store)

    def get_pool_base_tier(self, pool_id: int) -> int:
        """The pool itself: there are no tiers."""
        self.require_state("connected")
        if self.pool_reverse_lookup(pool_id) is None:
            raise make_ex(errno.ENOENT, f"get_pool_base_tier({pool_id})")
        return pool_id

    def get_inconsistent_pgs(self, pool_id: int) -> list[str]:
        """None: there are no placement groups. Raises ObjectNotFound for the pool."""
        if self.pool_reverse_lookup(pool_id) is None:
            raise make_ex(errno.ENOENT, "error calling inconsistent_pg_list")
        return []

    def open_ioctx(self, ioctx_name: str) -> Ioctx:
        """An Ioctx of a pool. Raises ObjectNotFound."""
        self.require_state("connected")
        name = name_text(ioctx_name, "ioctx_name")
        if not KNOWN.has(self.store, name) and self._pool(lambda pool: pool.name == name) is None:
            raise ObjectNotFound(f"error opening pool '{name}'", errno=errno.ENOENT)
        return Ioctx(self, name, name)

    def open_ioctx2(self, pool_id: int) -> Ioctx:
        """As `open_ioctx`, by the pool's id."""
        self.require_state("connected")
        if not isinstance(pool_id, int):
            raise TypeError("an integer is required")
        found = self._pool(lambda pool: pool.id == pool_id)
        if found is None:
            raise ObjectNotFound(f"error opening pool id '{pool_id}'", errno=errno.ENOENT)
        return Ioctx(self, str(pool_id), found.name, found.id)

    def _pool(self, wanted: Callable[[PoolInfo], bool]) -> PoolInfo | None:
        with asking("error looking up pool"):
            pools = self.store.pools()
        KNOWN.learn(self.store, [pool.name for pool in pools])
        return next(filter(wanted, pools), None)

    # --- commands

    def mon_command(
        self, cmd: str, inbuf: bytes, timeout: int = 0, target: str | int | None = None
    ) -> tuple[int, bytes, str]:
        """Ask a monitor: `-errno` or 0, what it answers, what it says besides."""
        return self._command(cmd, inbuf)

    def mgr_command(
        self, cmd: str, inbuf: bytes, timeout: int = 0, target: str | None = None
    ) -> tuple[int, bytes, str]:
        """Ask the manager. Here it is the same as the monitor."""
        return self._command(cmd, inbuf, "No handler found for '{}'")

    def osd_command(self, osdid: int, cmd: str, inbuf: bytes, timeout: int = 0) -> tuple[int, bytes, str]:
        """Ask an OSD: there is one, 0, that knows its version."""
        if not isinstance(osdid, int):
            raise TypeError("an integer is required")
        if osdid != 0:
            self.require_state("connected")
            return -errno.ENOENT, b"", "osd dne"
        return self._command(cmd, inbuf, _UNKNOWN)

    def pg_command(self, pgid: str, cmd: str, inbuf: bytes, timeout: int = 0) -> tuple[int, bytes, str]:
        """Ask a placement group, POOL.NUMBER: it knows no command."""
        self.require_state("connected")
        pool, _, _ = name_text(pgid, "pgid").partition(".")
        if not pool.isdecimal() or self.pool_reverse_lookup(int(pool)) is None:
            return -errno.ENOENT, b"", f"pgid {pgid} does not exist"
        return self._command(cmd, inbuf, _UNKNOWN)

    def _command(self, cmd: str, inbuf: bytes, unknown: str = "command not known") -> tuple[int, bytes, str]:
        """`unknown` is what is said to a command that there is not, `{}` for its name."""
        name_text(cmd, "cmd")
        name_bytes(inbuf, "inbuf")
        with asking("mon_command"):
            return monitor.answer(self.store, self._conf, cmd, unknown)

    def service_daemon_register(self, service: str, daemon: str, metadata: dict[str, str]) -> None:
        """Make a daemon known, once: no one here asks for it. Raises ObjectExists."""
        name_text(service, "service")
        name_text(daemon, "daemon")
        if self._is_daemon:
            raise make_ex(errno.EEXIST, "error calling service_register()")
        self._is_daemon = True

    def service_daemon_update(self, status: dict[str, str]) -> None:
        """Tell of a daemon that was made known. Raises NotConnected."""
        if self.state != "connected":
            raise make_ex(errno.ENOTCONN, "error calling service_daemon_update()")


def _refusal(error: CowshedError) -> int:
    """The errno with which a cluster would refuse a connection."""
    match error:
        case NotAuthenticated() | PermissionDenied():
            return errno.EACCES
        case StoreLocked() | IOFailure() | Disconnected():
            return errno.ETIMEDOUT
        case _:
            return error.errno
