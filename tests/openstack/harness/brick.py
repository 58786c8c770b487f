"""os-brick's half: the RBD connector, as Glance, Cinder and Nova use it to reach a volume."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from os_brick.initiator.connectors import rbd as connectors
from oslo_concurrency import processutils

from .contents import sha256


class Room:
    """One connector, and the volumes that are connected by it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.user = settings.get("user", "cinder")
        self.keyrings = Path(settings["keyrings"])
        self.conf = settings["conf"]
        # The one file of the host that the connector reads lies in /etc/ceph, in its code.
        connectors.open = self.open
        self.local = settings.get("local", False)
        self.environment = {**os.environ, **settings.get("environment", {})}
        self.connector = connectors.RBDConnector(None, do_local_attach=self.local, execute=self.execute)
        self.connected: dict[str, tuple[dict[str, Any], Any]] = {}

    def open(self, path: str, mode: str = "r") -> Any:
        return Path(self.keyrings / Path(path).name if path.startswith("/etc/ceph/") else path).open(mode)

    def execute(self, *words: str, **_: object) -> Any:
        """As root already, so without its helper."""
        return processutils.execute(*words, env_variables=self.environment)

    def monitors(self) -> tuple[list[str], list[str]]:
        """Hosts and ports, as Cinder's and Nova's drivers take them from `ceph mon dump`."""
        from nova.storage.rbd_utils import RBDDriver

        driver = RBDDriver(pool="volumes", user=self.user, ceph_conf=self.conf, connect_timeout=5)
        hosts, ports = driver.get_mon_addrs()
        return list(hosts), list(ports)

    def connect(self, volume: str, pool: str = "volumes") -> str:
        """Connect with what Cinder's initialize_connection would say. Returns a device's path, or a class."""
        hosts, ports = self.monitors()
        properties = {
            "name": f"{pool}/{volume}",
            "hosts": hosts,
            "ports": ports,
            "cluster_name": "ceph",
            "auth_enabled": True,
            "auth_username": self.user,
            "secret_type": "ceph",
            "secret_uuid": None,
            "volume_id": volume,
            "discard": True,
        }
        found = self.connector.connect_volume(properties)
        self.connected[volume] = (properties, found)
        return found["path"] if isinstance(found["path"], str) else type(found["path"]).__name__

    def conf_text(self, volume: str) -> str:
        """The ceph.conf that the connector wrote for itself."""
        return Path(self.handle(volume).rbd_conf).read_text()

    def handle(self, volume: str) -> Any:
        return self.connected[volume][1]["path"]

    def valid(self, volume: str) -> bool:
        return bool(self.connector.check_valid_device(self.handle(volume), run_as_root=False))

    def read(self, volume: str, chunk: int = 1 << 20) -> dict[str, Any]:
        """All of it, from the start, as a program reads a file."""
        handle = self.handle(volume)
        handle.seek(0)
        digest = sha256(iter(lambda: handle.read(chunk), b""))
        return {"size": handle.tell(), "sha256": digest}

    def write(self, volume: str, offset: int, path: str) -> None:
        handle = self.handle(volume)
        handle.seek(offset)
        handle.write(Path(path).read_bytes())
        handle.flush()

    def end(self, volume: str) -> int:
        handle = self.handle(volume)
        handle.seek(0, 2)
        return int(handle.tell())

    def extended(self, volume: str) -> int:
        """The size that the connector sees anew."""
        return int(self.connector.extend_volume(self.connected[volume][0]))

    def disconnect(self, volume: str) -> None:
        properties, found = self.connected.pop(volume)
        self.connector.disconnect_volume(properties, found)
