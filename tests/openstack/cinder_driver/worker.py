"""One of several processes that use a site at once: random operations of Cinder's users on its own volumes.

    python -m openstack.cinder_driver.worker CONF KEYRINGS STATE SEED SECONDS threads|eventlet

It compares contents by hash as it goes, and all at the end; deletes everything; prints what it did as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from openstack.cinder_driver.content import Content
from openstack.cinder_driver.images import glance_image
from openstack.cinder_driver.ledger import VolumeType
from openstack.cinder_driver.pools import opened
from openstack.cinder_driver.ready import make_ready

if TYPE_CHECKING:
    from openstack.cinder_driver.ledger import Backup, Snapshot, Volume
    from openstack.cinder_driver.service import Backups, Cinder

MOST_VOLUMES = 5
MOST_SNAPSHOTS = 3
MOST_BACKUPS = 6
LARGEST_GIB = 3


class Story:
    """What this process has made, and what it does next."""

    def __init__(self, cinder: Cinder, backups: Backups, seed: int) -> None:
        self.cinder = cinder
        self.backups = backups
        self.dice = random.Random(seed)
        self.volumes: list[Volume] = []
        self.snapshots: dict[str, list[Snapshot]] = {}
        """By volume."""
        self.chains: dict[str, list[Backup]] = {}
        """By volume; each backup is of what has changed since the one before it."""
        self.done: Counter[str] = Counter()
        self.made = 0
        self.picture = Content()
        self.picture.change(self.dice, 12)
        image_id, self.location = glance_image(cinder.conf, self.picture)
        cinder.ledger.labels[image_id] = "image"

    def step(self) -> None:
        """One operation, which the state allows."""
        choices = ["create", "from_image", "stats"]
        if self.volumes:
            choices += ["write"] * 4 + ["snapshot", "clone", "delete", "check"] + ["backup"] * 3
            choices += ["retype", "take_over"]
        if self._growing():
            choices += ["extend"]
        if any(self.snapshots.values()):
            choices += ["from_snapshot", "delete_snapshot"]
        if self._revertible():
            choices += ["revert"]
        if any(self.chains.values()):
            choices += ["restore", "restore_over", "delete_backups"]
        if self._long_chains():
            choices += ["delete_middle"]
        name = self.dice.choice(choices)
        getattr(self, f"_{name}")()
        self.done[name] += 1

    def end(self) -> None:
        """Everything is compared, and then goes: clones before their sources."""
        self.cinder.check()
        for id in list(self.chains):
            self.backups.check(*self.chains[id])
            self._end_chain(id)
        for volume in reversed(self.volumes):
            self._remove(volume)
        assert self.cinder.tree("backups") == {}
        assert all(name.endswith(".deleted") for name in self.cinder.tree()), self.cinder.tree()

    def _new(self, volume: Volume) -> None:
        self.volumes.append(volume)
        self.snapshots[volume.id] = []
        if len(self.volumes) > MOST_VOLUMES:
            self._delete()

    def _label(self) -> str:
        self.made += 1
        return f"v{self.made}"

    def _any_snapshot(self) -> Snapshot:
        return self.dice.choice([each for some in self.snapshots.values() for each in some])

    def _create(self) -> None:
        self._new(self.cinder.create(self._label()))

    def _from_image(self) -> None:
        volume = self.cinder.ledger.volume(self._label(), self.dice.choice((1, 2)))
        image_id = self.location.split("/")[-2]
        meta = {"id": image_id, "disk_format": "raw"}
        _, cloned = self.cinder.driver.clone_image(
            self.cinder.context, volume, (self.location, None), meta, None
        )
        assert cloned
        self.cinder.contents[volume.id] = Content(self.picture.pieces, volume.size)
        self._new(volume)

    def _stats(self) -> None:
        """Among others' images, which come and go meanwhile."""
        stats = self.cinder.driver.get_volume_stats(refresh=True)
        assert stats["backend_state"] == "up"
        assert stats["provisioned_capacity_gb"] >= sum(each.size for each in self.volumes)

    def _retype(self) -> None:
        """To a type for several hosts, or back."""
        volume = self.dice.choice(self.volumes)
        shared = bool(volume.volume_type.extra_specs)
        new = VolumeType() if shared else VolumeType(extra_specs={"multiattach": "<is> True"})
        moved, update = self.cinder.driver.retype(self.cinder.context, volume, new, None, None)
        assert moved
        volume.volume_type, volume.provider_location = new, update["provider_location"]

    def _take_over(self) -> None:
        """Given back, renamed by somebody, and taken over again."""
        volume = self.dice.choice(self.volumes)
        self.cinder.driver.unmanage(volume)
        name = f"theirs-{volume.id}"
        with opened(self.cinder.conf, "volumes") as ioctx:
            self.cinder.driver.rbd.RBD().rename(ioctx, volume.name, name)
        assert self.cinder.driver.manage_existing_get_size(volume, {"source-name": name}) == volume.size
        self.cinder.driver.manage_existing(volume, {"source-name": name})

    def _write(self) -> None:
        self.cinder.write(self.dice.choice(self.volumes))

    def _snapshot(self) -> None:
        volume = self.dice.choice(self.volumes)
        self.snapshots[volume.id].append(self.cinder.snapshot(self._label(), volume))
        if len(self.snapshots[volume.id]) > MOST_SNAPSHOTS:
            self.cinder.delete_snapshot(self.snapshots[volume.id].pop(0))

    def _delete_snapshot(self) -> None:
        snapshot = self._any_snapshot()
        self.snapshots[snapshot.volume.id].remove(snapshot)
        self.cinder.delete_snapshot(snapshot)

    def _clone(self) -> None:
        self._new(self.cinder.clone(self._label(), self.dice.choice(self.volumes)))

    def _from_snapshot(self) -> None:
        self._new(self.cinder.from_snapshot(self._label(), self._any_snapshot()))

    def _revertible(self) -> list[Snapshot]:
        """Cinder reverts to the latest snapshot, of the volume's own size."""
        latest = [some[-1] for some in self.snapshots.values() if some]
        return [each for each in latest if each.volume.size == each.volume_size]

    def _revert(self) -> None:
        snapshot = self.dice.choice(self._revertible())
        self.cinder.revert(snapshot.volume, snapshot)

    def _growing(self) -> list[Volume]:
        return [each for each in self.volumes if each.size < LARGEST_GIB]

    def _extend(self) -> None:
        volume = self.dice.choice(self._growing())
        self.cinder.extend(volume, volume.size + 1)

    def _backup(self) -> None:
        # Mostly of what has backups already, so that there are chains.
        begun = [each for each in self.volumes if each.id in self.chains]
        volume = self.dice.choice(begun if begun and self.dice.random() < 0.8 else self.volumes)
        chain = self.chains.setdefault(volume.id, [])
        if len(chain) == MOST_BACKUPS:
            self._end_chain(volume.id)
            chain = self.chains.setdefault(volume.id, [])
        chain.append(self.backups.create(self._label(), volume, chain[-1] if chain else None))

    def _any_backup(self) -> Backup:
        return self.dice.choice([each for chain in self.chains.values() for each in chain])

    def _restore_over(self) -> None:
        backup = self._any_backup()
        # Cinder's API restores to no volume that is smaller.
        size = self.cinder.contents[backup.id].size
        fit = [each for each in self.volumes if each.size >= size]
        volume = self.dice.choice(fit) if fit else self.cinder.create(self._label(), size)
        self.backups.restore(backup, volume, new=False)
        self.cinder.check(volume)
        if not fit:
            self._new(volume)

    def _long_chains(self) -> list[list[Backup]]:
        return [chain for chain in self.chains.values() if len(chain) > 2]

    def _delete_middle(self) -> None:
        """One that others came after; they stay whole."""
        chain = self.dice.choice(self._long_chains())
        self.backups.delete(chain.pop(self.dice.randrange(1, len(chain) - 1)))
        self.backups.check(*chain)

    def _restore(self) -> None:
        backup = self._any_backup()
        volume = self.cinder.create(self._label(), self.cinder.contents[backup.id].size)
        self.backups.restore(backup, volume, new=True)
        self.cinder.check(volume)
        self._new(volume)

    def _delete_backups(self) -> None:
        self._end_chain(self.dice.choice([id for id, chain in self.chains.items() if chain]))

    def _end_chain(self, volume_id: str) -> None:
        self.backups.delete(*reversed(self.chains.pop(volume_id)))

    def _delete(self) -> None:
        self._remove(self.dice.choice(self.volumes))

    def _remove(self, volume: Volume) -> None:
        self.volumes.remove(volume)
        # The API lets no volume with snapshots go; its backups stay, but nothing builds on them any more.
        self.cinder.delete_snapshot(*self.snapshots.pop(volume.id))
        if volume.id in self.chains:
            self._end_chain(volume.id)
        self.cinder.delete(volume)

    def _check(self) -> None:
        self.cinder.check(self.dice.choice(self.volumes))


def main() -> None:
    conf, keyrings, state, seed, seconds, mode = sys.argv[1:]
    make_ready(Path(state), eventlet=mode == "eventlet")
    from openstack.cinder_driver import leavings
    from openstack.cinder_driver.service import Backups, Cinder
    from openstack.cinder_driver.site import Site

    site = Site(Path(keyrings) / "ceph.conf", Path())
    cinder = Cinder(site, Path(conf), int(seed), rbd_max_clone_depth=3, rbd_exclusive_cinder_pool=False)
    cinder.remember_monitors()
    story = Story(cinder, Backups(cinder), int(seed))
    end = time.monotonic() + float(seconds)
    try:
        while time.monotonic() < end:
            story.step()
        story.end()
    finally:
        leavings.remove(cinder)
    print(json.dumps(story.done))


if __name__ == "__main__":
    main()
