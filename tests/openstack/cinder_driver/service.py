"""cinder-volume and cinder-backup without their services: the drivers, configured as in a devstack."""

from __future__ import annotations

import functools
import json
import random
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cinder import context
from cinder.backup.drivers import ceph
from cinder.volume import (
    configuration,
    driver,
    volume_utils,
)
from cinder.volume.drivers import rbd
from oslo_config import cfg

from openstack.cinder_driver.content import Content, digest
from openstack.cinder_driver.ledger import Backup, Ledger, Snapshot, Volume
from openstack.cinder_driver.pools import opened
from openstack.cinder_driver.site import Site

CONF = cfg.CONF


def volume_driver(site: Site, conf: Path, **options: Any) -> Any:
    """The RBD driver of a backend with these options, set up and checked as the volume service does it."""
    group = f"backend-{uuid.uuid4().hex}"
    settings = configuration.Configuration(driver.volume_opts, config_group=group)
    settings.append_config_values(rbd.RBD_OPTS)
    chosen = {
        "volume_backend_name": "ceph",
        "rbd_pool": "volumes",
        "rbd_user": "cinder",
        "rbd_ceph_conf": str(conf),
        "rados_connection_interval": 1,
        **options,
    }
    for name, value in chosen.items():
        CONF.set_override(name, value, group=group)
    # As cinderlib does: os-brick takes the keyring from here, where it would read /etc/ceph.
    settings.rbd_keyring_conf = str(site.keyring(chosen["rbd_user"]))
    made = rbd.RBDDriver(configuration=settings, host="test@ceph")
    # The trash is purged when a test says so; a loop of its own would outlive the cluster.
    made._start_periodic_tasks = lambda: None
    made.do_setup(context.get_admin_context())
    made.check_for_setup_error()
    made.set_initialized()
    return made


def backup_driver(conf: Path, ledger: Ledger, **options: Any) -> Any:
    """The Ceph backup driver with these options, checked as the backup service does it."""
    chosen = {
        "backup_ceph_conf": str(conf),
        "backup_ceph_user": "cinder-backup",
        "backup_ceph_pool": "backups",
        "backup_ceph_max_snapshots": 0,
        "backup_ceph_stripe_unit": 0,
        "backup_ceph_stripe_count": 0,
        "backup_ceph_image_journals": False,
        **options,
    }
    for name, value in chosen.items():
        CONF.set_override(name, value)
    made = ceph.CephBackupDriver(context.get_admin_context())
    made.db = made.backup_meta_api.db = ledger
    made.check_for_setup_error()
    return made


class Cinder:
    """Both drivers on one site, what was made by them, and what each volume must hold."""

    def __init__(self, site: Site, conf: Path, seed: int, **options: Any) -> None:
        self.context = context.get_admin_context()
        self.site = site
        self.conf = conf
        self.ledger = Ledger()
        self.dice = random.Random(seed)
        self.driver = volume_driver(site, conf, **options)
        self.contents: dict[str, Content] = {}
        """By id of volume, snapshot or backup."""

    def remember_monitors(self) -> None:
        """Ask `ceph mon dump` once, and not for each attachment: it is a process each time."""
        self.driver._get_mon_addrs = functools.cache(self.driver._get_mon_addrs)

    # What a user of Cinder asks for. Each returns the record that it made.

    def create(self, label: str, size: int = 1, **more: Any) -> Volume:
        volume = self.ledger.volume(label, size, **more)
        self._update(volume, self.driver.create_volume(volume))
        self.contents[volume.id] = Content(size=size)
        return volume

    def clone(self, label: str, source: Volume, size: int | None = None) -> Volume:
        volume = self.ledger.volume(label, size or source.size)
        self._update(volume, self.driver.create_cloned_volume(volume, source))
        self._inherit(volume, source)
        return volume

    def from_snapshot(self, label: str, snapshot: Snapshot, size: int | None = None) -> Volume:
        volume = self.ledger.volume(label, size or snapshot.volume_size)
        self._update(volume, self.driver.create_volume_from_snapshot(volume, snapshot))
        self._inherit(volume, snapshot)
        return volume

    def snapshot(self, label: str, volume: Volume) -> Snapshot:
        snapshot = self.ledger.snapshot(label, volume)
        self.driver.create_snapshot(snapshot)
        self.contents[snapshot.id] = self.contents[volume.id].copy()
        return snapshot

    def extend(self, volume: Volume, size: int) -> None:
        self.driver.extend_volume(volume, size)
        volume.size = size
        self.contents[volume.id].size = size

    def revert(self, volume: Volume, snapshot: Snapshot) -> None:
        self.driver.revert_to_snapshot(self.context, volume, snapshot)
        self.contents[volume.id] = self.contents[snapshot.id].copy()

    def delete(self, *volumes: Volume) -> None:
        for volume in volumes:
            self.driver.delete_volume(volume)
            self.contents.pop(volume.id)

    def delete_snapshot(self, *snapshots: Snapshot) -> None:
        for snapshot in snapshots:
            self.driver.delete_snapshot(snapshot)
            self.contents.pop(snapshot.id)

    # What an instance does with a volume that is attached to it.

    @contextmanager
    def attached(self, volume: Volume) -> Iterator[Any]:
        """os-brick's handle on the volume, connected by the driver's connection info as services do it."""
        data = self.driver.initialize_connection(volume, {})["data"]
        connector = volume_utils.brick_get_connector("rbd")
        device = connector.connect_volume(data)
        try:
            yield device["path"]
        finally:
            connector.disconnect_volume(data, device)

    def write(self, *volumes: Volume, count: int = 4) -> None:
        """An instance writes into each, at random places."""
        for volume in volumes:
            with self.attached(volume) as handle:
                for offset, data in self.contents[volume.id].change(self.dice, count):
                    handle.seek(offset)
                    handle.write(data)
                handle.flush()

    # What is there.

    def check(self, *things: Volume | Snapshot) -> None:
        """Each of these (all that live, if none is named) holds what it must."""
        if not things:
            things = tuple(self.ledger.volumes[id] for id in self.contents if id in self.ledger.volumes)
        for thing in things:
            assert self.digest(thing) == self.contents[thing.id].digest(), thing.label

    def digest(self, thing: Volume | Snapshot) -> str:
        if isinstance(thing, Snapshot):
            with rbd.RBDVolumeProxy(self.driver, thing.volume_name, snapshot=thing.name) as image:
                return digest(image)
        with rbd.RBDVolumeProxy(self.driver, thing.name, read_only=True) as image:
            return digest(image)

    def tree(self, pool: str = "volumes") -> dict[str, list[str]]:
        """The pool's images that belong to this test, each with its snapshots, all by their labels."""
        modules = self.driver.rbd
        found = {}
        with opened(self.conf, pool) as ioctx:
            for name in modules.RBD().list(ioctx):
                if self.ours(name):
                    with modules.Image(ioctx, name, read_only=True) as image:
                        found[self.called(name)] = [self.called(each["name"]) for each in image.list_snaps()]
        return found

    def images(self, pool: str = "volumes") -> list[str]:
        """The names of the images that belong to this test."""
        with opened(self.conf, pool) as ioctx:
            return [name for name in self.driver.rbd.RBD().list(ioctx) if self.ours(name)]

    def trash(self, pool: str = "volumes") -> list[str]:
        """The labels of what this test has in the trash."""
        with opened(self.conf, pool) as ioctx:
            names = [each["name"] for each in self.driver.rbd.RBD().trash_list(ioctx)]
        return sorted(self.called(name) for name in names if self.ours(name))

    def called(self, name: str) -> str:
        """The name of an image or snapshot with labels for ids, and without the time of a backup.

        A snapshot that is gone and has clones is called `(gone)`: its name is an id that nobody chose.
        """
        for id, label in self.ledger.labels.items():
            name = re.sub(rf"(volume-|snapshot-)?{id}", label, name)
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name):
            return "(gone)"
        return re.sub(r"\.snap\.[0-9.]+$", "", name)

    def ours(self, name: str) -> bool:
        """Whether an image belongs to this test."""
        return any(id in name for id in self.ledger.labels)

    def parent(self, volume: Volume) -> str | None:
        """`image@snapshot` that the volume is a clone of, by labels."""
        with rbd.RBDVolumeProxy(self.driver, volume.name, read_only=True) as image:
            try:
                _pool, parent, snap = image.parent_info()
            except self.driver.rbd.ImageNotFound:
                return None
        return f"{self.called(parent)}@{self.called(snap)}"

    def _inherit(self, volume: Volume, source: Volume | Snapshot) -> None:
        content = self.contents[source.id].copy()
        content.size = volume.size
        self.contents[volume.id] = content

    @staticmethod
    def _update(volume: Volume, changes: dict[str, Any] | None) -> None:
        for name, value in (changes or {}).items():
            setattr(volume, name, value)


class Backups:
    """cinder-backup beside `cinder`."""

    def __init__(self, cinder: Cinder, **options: Any) -> None:
        self.cinder = cinder
        self.driver = backup_driver(cinder.conf, cinder.ledger, **options)

    def create(self, label: str, volume: Volume, parent: Backup | None = None) -> Backup:
        """A full backup, or what has changed since `parent`."""
        return self._create(self.cinder.ledger.backup(label, volume, parent), volume)

    def create_of_snapshot(self, label: str, snapshot: Snapshot) -> Backup:
        """Of its volume as of then: Cinder makes a volume from the snapshot for as long as it takes."""
        backup = self.cinder.ledger.backup(label, snapshot.volume)
        backup.snapshot_id = snapshot.id
        passing = self.cinder.from_snapshot(f"{label}-source", snapshot)
        self._create(backup, passing)
        self.cinder.delete(passing)
        return backup

    def _create(self, backup: Backup, volume: Volume) -> Backup:
        with self.cinder.attached(volume) as handle:
            updates = self.driver.backup(backup, handle)
        for name, value in (updates or {}).items():
            setattr(backup, name, value)
        self.cinder.contents[backup.id] = self.cinder.contents[volume.id].copy()
        return backup

    def restore(self, backup: Backup, volume: Volume, new: bool) -> None:
        with self.cinder.attached(volume) as handle:
            self.driver.restore(backup, volume.id, handle, new)
        content = self.cinder.contents[backup.id].copy()
        content.size = volume.size
        self.cinder.contents[volume.id] = content

    def check(self, *backups: Backup) -> None:
        """Each holds what its volume held."""
        for backup in backups:
            assert self.digest(backup) == self.cinder.contents[backup.id].digest(), backup.label

    def digest(self, backup: Backup) -> str:
        """Of the backup's own snapshot of the image that its chain shares."""
        base = json.loads(backup.service_metadata or "")["base"]
        with (
            opened(self.cinder.conf, "backups") as ioctx,
            self.cinder.driver.rbd.Image(ioctx, base, read_only=True) as image,
        ):
            names = [each["name"] for each in image.list_snaps()]
            (name,) = (each for each in names if each.startswith(f"backup.{backup.id}.snap."))
            image.set_snap(name)
            return digest(image)

    def delete(self, *backups: Backup) -> None:
        for backup in backups:
            self.driver.delete_backup(backup)
            self.cinder.contents.pop(backup.id)
