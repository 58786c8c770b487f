"""cinder-volume's and cinder-backup's half: Cinder's RBD drivers, as the tests of `cinder_driver` have them.

What is made is known by the label that it was given.
"""

from __future__ import annotations

import random
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import scattered

if TYPE_CHECKING:
    from openstack.cinder_driver.ledger import Backup, Snapshot, Volume

TESTS = Path(__file__).resolve().parents[2]


class Room:
    """Both drivers in one process."""

    def __init__(self, settings: dict[str, Any]) -> None:
        # From here on `openstack` is the tests' folder, which Cinder has no need of under that name.
        sys.path.insert(0, str(TESTS))
        from openstack.cinder_driver.ready import make_ready

        make_ready(Path(settings["work"]), eventlet=settings.get("eventlet", False))
        from openstack.cinder_driver.content import Content
        from openstack.cinder_driver.service import Backups, Cinder
        from openstack.cinder_driver.site import Site

        conf = Path(settings["conf"])
        site = Site(Path(settings["keyrings"]) / "ceph.conf", Path())
        self.cinder = Cinder(site, conf, seed=1)
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

    def write_pieces(self, volume: str, writes: list[tuple[int, int]]) -> None:
        """Pieces by offset and seed, as `scattered` knows them, by os-brick's handle."""
        with self.cinder.attached(self.volumes[volume]) as handle:
            for offset, seed in writes:
                handle.seek(offset)
                handle.write(scattered.piece(seed))
            handle.flush()

    def digest(self, volume: str) -> str:
        """Of a volume, by `scattered`."""
        return str(self.cinder.digest(self.volumes[volume]))

    def digest_snapshot(self, snapshot: str) -> str:
        return str(self.cinder.digest(self.snapshots[snapshot]))

    def id(self, volume: str) -> str:
        return str(self.volumes[volume].id)

    # --- cinder-backup

    def know(self, label: str, id: str, size: int) -> None:
        """A volume that another process made, or what has become of it."""
        if label not in self.volumes:
            self.volumes[label] = self.cinder.ledger.volume(label, size, id=id)
        self.volumes[label].size = size
        self.cinder.contents[id] = self.nothing(size=size)

    def digest_backup(self, label: str) -> str:
        """Of what the backup holds."""
        return str(self.backups.digest(self.chains[label]))

    def back_up(self, label: str, volume: str, parent: str | None = None) -> None:
        """A full backup, or what has changed since `parent`."""
        self.chains[label] = self.backups.create(
            label, self.volumes[volume], self.chains[parent] if parent else None
        )

    def restore(self, label: str, volume: str) -> None:
        """To a volume that is new."""
        self.backups.restore(self.chains[label], self.volumes[volume], new=True)

    def restore_over(self, label: str, volume: str) -> None:
        """To a volume that holds something."""
        self.backups.restore(self.chains[label], self.volumes[volume], new=False)

    def delete_backup(self, label: str) -> None:
        self.backups.delete(self.chains.pop(label))
