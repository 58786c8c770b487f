"""cinder-volume's and cinder-backup's half: Cinder's RBD drivers, as the tests of `cinder_driver` have them.

What is made is known by the label that it was given.
"""

from __future__ import annotations

import random
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openstack.cinder_driver.ledger import Backup, Snapshot, Volume

TESTS = Path(__file__).resolve().parents[2]


class Room:
    """Both drivers in one process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        # From here on `openstack` is the tests' folder, which Cinder has no need of under that name.
        sys.path.insert(0, str(TESTS))
        from openstack.cinder_driver.ready import make_ready

        make_ready(Path(settings["work"]))
        from openstack.cinder_driver.content import Content
        from openstack.cinder_driver.service import Backups, Cinder
        from openstack.cinder_driver.site import Site

        conf = Path(settings["conf"])
        self.cinder = Cinder(Site(conf, Path()), conf, seed=1)
        self.backups = Backups(self.cinder)
        self.nothing = Content
        self.volumes: dict[str, Volume] = {}
        self.snapshots: dict[str, Snapshot] = {}
        self.chains: dict[str, Backup] = {}

    # --- cinder-volume

    def create(self, label: str, size: int = 1) -> None:
        """An empty volume of `size` GiB."""
        self.volumes[label] = self.cinder.create(label, size)

    def clone(self, label: str, source: str) -> None:
        """A volume from another one."""
        self.volumes[label] = self.cinder.clone(label, self.volumes[source])

    def from_snapshot(self, label: str, snapshot: str) -> None:
        self.volumes[label] = self.cinder.from_snapshot(label, self.snapshots[snapshot])

    def from_image(self, label: str, url: str, size: int = 1) -> bool:
        """A volume from the location of a Glance image; whether it could be cloned."""
        volume = self.cinder.ledger.volume(label, size)
        meta = {"id": str(uuid.uuid4()), "disk_format": "raw", "container_format": "bare"}
        location = (url, [{"url": url, "metadata": {}}])
        _update, cloned = self.cinder.driver.clone_image(self.cinder.context, volume, location, meta, None)
        self.volumes[label] = volume
        self.cinder.contents[volume.id] = self.nothing(size=size)
        return bool(cloned)

    def delete(self, label: str) -> None:
        self.cinder.delete(self.volumes.pop(label))

    def snapshot(self, label: str, volume: str) -> None:
        self.snapshots[label] = self.cinder.snapshot(label, self.volumes[volume])

    def delete_snapshot(self, label: str) -> None:
        self.cinder.delete_snapshot(self.snapshots.pop(label))

    def revert(self, volume: str, snapshot: str) -> None:
        self.cinder.revert(self.volumes[volume], self.snapshots[snapshot])

    def extend(self, volume: str, size: int) -> None:
        self.cinder.extend(self.volumes[volume], size)

    def stats(self) -> dict[str, Any]:
        """What the scheduler is told of the backend."""
        return dict(self.cinder.driver.get_volume_stats(refresh=True))

    def connect(self, volume: str) -> None:
        """What an attachment costs: connection info, os-brick's handle, and its end."""
        with self.cinder.attached(self.volumes[volume]):
            pass

    def write_file(self, volume: str, path: str) -> None:
        """A file's data to the volume's beginning, by os-brick's handle."""
        with self.cinder.attached(self.volumes[volume]) as handle, Path(path).open("rb") as file:
            while piece := file.read(4 << 20):
                handle.write(piece)
            handle.flush()

    def write(self, volume: str, pieces: int, length: int, step: int, seed: int) -> None:
        """So many pieces of data, one in every `step` bytes."""
        with self.cinder.attached(self.volumes[volume]) as handle:
            for number in range(pieces):
                handle.seek(number * step)
                handle.write(random.Random(seed + number).randbytes(length))
            handle.flush()

    # --- cinder-backup

    def back_up(self, label: str, volume: str, parent: str | None = None) -> None:
        """A full backup, or what has changed since `parent`."""
        self.chains[label] = self.backups.create(
            label, self.volumes[volume], self.chains[parent] if parent else None
        )

    def restore(self, label: str, volume: str) -> None:
        """To a volume that is new."""
        self.backups.restore(self.chains[label], self.volumes[volume], new=True)

    def delete_backup(self, label: str) -> None:
        self.backups.delete(self.chains.pop(label))
