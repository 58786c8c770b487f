"""One monitor, one OSD and one manager in a directory: a whole Ceph cluster within seconds.

The standard library and Ceph's own programs are all it needs, so that `/usr/bin/python3` runs it as well.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("ceph-mon", "ceph-osd", "ceph-mgr", "ceph", "rbd", "ceph-authtool", "monmaptool")
POOLS = ("rbd", "images", "volumes", "vms", "backups")
# The capabilities are those of Ceph's own page for OpenStack.
CLIENTS = {
    "client.admin": {"mon": "allow *", "osd": "allow *", "mgr": "allow *", "mds": "allow *"},
    "client.glance": {
        "mon": "profile rbd",
        "osd": "profile rbd pool=images",
        "mgr": "profile rbd pool=images",
    },
    "client.cinder": {
        "mon": "profile rbd",
        "osd": "profile rbd pool=volumes, profile rbd pool=vms, profile rbd pool=images",
        "mgr": "profile rbd pool=volumes, profile rbd pool=vms",
    },
    "client.nova": {
        "mon": "profile rbd",
        "osd": "profile rbd pool=volumes, profile rbd pool=vms, profile rbd pool=images",
        "mgr": "profile rbd pool=vms",
    },
    "client.cinder-backup": {
        "mon": "profile rbd",
        "osd": "profile rbd pool=backups, profile rbd pool=volumes",
        "mgr": "profile rbd pool=backups",
    },
}
DAEMONS = {
    "mon.": {"mon": "allow *"},
    "osd.0": {"mon": "allow profile osd", "mgr": "allow profile osd", "osd": "allow *"},
    "mgr.x": {"mon": "allow profile mgr", "osd": "allow *", "mds": "allow *"},
}

CONF = """\
[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{port},v1:127.0.0.1:{old_port}]
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
auth_allow_insecure_global_id_reclaim = false
run_dir = {directory}
admin_socket = {directory}/$cluster-$name.$pid.asok
log_file = {directory}/$name.log
pid_file = {directory}/$name.pid
keyring = {directory}/$cluster.$name.keyring
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
{speed}
[mon]
mon_data = {directory}/mon
mon_cluster_log_file = {directory}/cluster.log
mon_allow_pool_delete = true
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_warn_on_insecure_global_id_reclaim_allowed = false
mon_data_avail_warn = 1
mon_data_avail_crit = 1

[osd]
osd_data = {directory}/osd
osd_journal = {directory}/osd/journal
osd_objectstore = {objectstore}
osd_memory_target = 939524096
bluestore_block_size = {room}
memstore_device_bytes = 17179869184
osd_class_load_list = *
osd_class_default_list = *

[mgr]
mgr_data = {directory}/mgr
mgr_initial_modules =

[client]
log_file =
pid_file =
admin_socket =
"""
# A monitor of a cluster of many waits, so that several changes make one; a test has no one to wait for.
QUICK = """\
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
mon_tick_interval = 1
osd_heartbeat_interval = 1
mgr_tick_period = 1
mgr_stats_period = 1
"""
STARTS_WITHIN = 60.0
STOPS_WITHIN = 10.0


class ClusterError(Exception):
    """The cluster does not start, or Ceph's programs are not here; the message says which, and what they
    said.
    """


class Cluster:
    """The cluster of one directory, running or not.

    `as_shipped` leaves Ceph's own delays in place, which measuring needs; `memstore` keeps data in memory;
    `room` is the size of BlueStore's file in bytes, which never gives back what was once in use.
    """

    def __init__(
        self, directory: Path, *, as_shipped: bool = False, memstore: bool = False, room: int = 64 << 30
    ) -> None:
        self.directory = directory.absolute()
        self.as_shipped = as_shipped
        self.memstore = memstore
        self.room = room

    @property
    def conf(self) -> Path:
        """Its ceph.conf, which names client.admin's keyring and, by `$name`, everyone else's."""
        return self.directory / "ceph.conf"

    def keyring(self, client: str) -> Path:
        """The keyring of a client: `admin`, `glance`, `cinder`, `nova`, `cinder-backup`."""
        return self.directory / f"ceph.client.{client}.keyring"

    def start(self) -> None:
        """Start it, ready for use when this returns; nothing is done where it runs. Raises `ClusterError`."""
        missing = [name for name in PROGRAMS if shutil.which(name) is None]
        if missing:
            raise ClusterError(
                f"{', '.join(missing)} not installed (Debian: ceph-mon ceph-osd ceph-mgr ceph-common)"
            )
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if (self.directory / "ready").exists() and len(self._running()) == 3:
                return
            self._end()
            self._clear()
            try:
                self._make()
            except BaseException:
                self._end()
                raise
            (self.directory / "ready").touch()

    def stop(self) -> None:
        """End its processes and remove its directory; nothing is done where there is none."""
        if not self.directory.exists():
            return
        if not self.conf.exists() and any(path.name != "lock" for path in self.directory.iterdir()):
            raise ClusterError(f"{self.directory} holds no cluster; it is left as it is")
        with self._alone():
            self._end()
            shutil.rmtree(self.directory)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _clear(self) -> None:
        inside = [path for path in self.directory.iterdir() if path.name != "lock"]
        if inside and not self.conf.exists():
            raise ClusterError(f"{self.directory} is not empty, and holds no cluster")
        for path in inside:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _make(self) -> None:
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        port, old_port = free_ports()
        self.conf.write_text(
            CONF.format(
                fsid=fsid,
                port=port,
                old_port=old_port,
                directory=self.directory,
                speed="" if self.as_shipped else QUICK,
                objectstore="memstore" if self.memstore else "bluestore",
                room=self.room,
            )
        )
        for name in ("mon", "osd", "mgr"):
            (self.directory / name).mkdir()
        monmap, keys = self.directory / "monmap", self._keys()
        address = f"[v2:127.0.0.1:{port},v1:127.0.0.1:{old_port}]"
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, str(monmap))
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", str(monmap), "--keyring", str(keys))
        self._run("ceph-mon", "-i", "a")
        self._run("ceph-mgr", "-i", "x")
        self._ceph("osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._run("ceph-osd", "-i", "0")
        for name in POOLS:
            self._ceph("osd", "pool", "create", name)
        for name in POOLS:
            self._run("rbd", "pool", "init", name)
        self._settle()

    def _keys(self) -> Path:
        """Make everyone's keyring; the monitor is born with all of them, so that none has to be added."""
        together = self.directory / "mon.keyring"
        for number, (name, caps) in enumerate((DAEMONS | CLIENTS).items()):
            words = [word for kind, cap in caps.items() for word in ("--cap", kind, cap)]
            new = ["--create-keyring"] if number == 0 else []
            self._run("ceph-authtool", *new, str(together), "--gen-key", "-n", name, *words)
            if name != "mon.":
                own = self.directory / f"ceph.{name}.keyring"
                key = self._run("ceph-authtool", str(together), "-n", name, "--print-key").strip()
                own.write_text(f"[{name}]\n\tkey = {key}\n")
                own.chmod(0o600)
        return together

    def _settle(self) -> None:
        """Wait until the manager reports all placement groups as ready."""
        deadline = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < deadline:
            groups = json.loads(self._ceph("pg", "stat", "--format", "json"))
            summary = groups.get("pg_summary", groups)
            states = {state["name"]: state["num"] for state in summary.get("num_pg_by_state", [])}
            if states and set(states) == {"active+clean"} and states["active+clean"] >= 8 * len(POOLS):
                return
            time.sleep(0.1)
        raise ClusterError(
            f"placement groups are not ready after {STARTS_WITHIN:.0f} s; see {self.directory}/*.log"
        )

    def _ceph(self, *words: str) -> str:
        return self._run("ceph", "--connect-timeout", "30", *words)

    def _run(self, program: str, *words: str) -> str:
        words = (program, *words)
        if program not in ("ceph-authtool", "monmaptool"):
            words = (*words, "-c", str(self.conf))
        # The monitor, the manager and the OSD go into the background by themselves; what they would keep
        # open is a file, lest someone wait for the end of a pipe.
        with (self.directory / "said").open("w+") as said:
            done = subprocess.run(
                words,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if program == "ceph" else said,
                stderr=said,
                timeout=STARTS_WITHIN,
                text=True,
                check=False,
            )
            said.seek(0)
            text = said.read()
        if done.returncode != 0:
            raise ClusterError(f"`{' '.join(words)}` ended with {done.returncode}:\n{text.strip()}")
        return done.stdout if program == "ceph" else text

    def _running(self) -> list[int]:
        """The processes of this directory: those in its pid files that are what these files say."""
        found = []
        for file in self.directory.glob("*.pid"):
            try:
                pid = int(file.read_text())
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except (ValueError, OSError):
                continue
            if os.fsencode(self.conf) in words:
                found.append(pid)
        return found

    def _end(self) -> None:
        for which in (signal.SIGTERM, signal.SIGKILL):
            for pid in self._running():
                with suppress(ProcessLookupError):
                    os.kill(pid, which)
            deadline = time.monotonic() + STOPS_WITHIN
            while self._running() and time.monotonic() < deadline:
                time.sleep(0.05)
            if not self._running():
                return
        raise ClusterError(f"processes {self._running()} do not end")


def free_ports() -> tuple[int, int]:
    """Two ports of this machine that are free now."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
