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

from openstack.cinder_driver.ready import make_ready

if TYPE_CHECKING:
    from openstack.cinder_driver.ledger import Backup, Snapshot, Volume
    from openstack.cinder_driver.service import Backups, Cinder

MOST_VOLUMES = 5
MOST_SNAPSHOTS = 3
MOST_BACKUPS = 4


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

    def step(self) -> None:
        """One operation, which the state allows."""
        choices = ["create"]
        if self.volumes:
            choices += ["write"] * 3 + ["snapshot", "clone", "extend", "backup", "delete", "check"]
        if any(self.snapshots.values()):
            choices += ["from_snapshot", "revert", "delete_snapshot"]
        if any(self.chains.values()):
            choices += ["restore", "delete_backups"]
        name = self.dice.choice(choices)
        getattr(self, f"_{name}")()
        self.done[name] += 1

    def end(self) -> None:
        """Everything is compared, and then goes: clones before their sources."""
        self.cinder.check()
        for id in list(self.chains):
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

    def _revert(self) -> None:
        # Cinder reverts to the latest snapshot, of the volume's own size.
        latest = [some[-1] for some in self.snapshots.values() if some]
        if fit := [each for each in latest if each.volume.size == each.volume_size]:
            snapshot = self.dice.choice(fit)
            self.cinder.revert(snapshot.volume, snapshot)

    def _extend(self) -> None:
        volume = self.dice.choice(self.volumes)
        if volume.size < 3:
            self.cinder.extend(volume, volume.size + 1)

    def _backup(self) -> None:
        volume = self.dice.choice(self.volumes)
        chain = self.chains.setdefault(volume.id, [])
        if len(chain) == MOST_BACKUPS:
            self._end_chain(volume.id)
            chain = self.chains.setdefault(volume.id, [])
        chain.append(self.backups.create(self._label(), volume, chain[-1] if chain else None))

    def _restore(self) -> None:
        backup = self.dice.choice([each for chain in self.chains.values() for each in chain])
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

    cinder = Cinder(Site(Path(keyrings) / "ceph.conf", Path()), Path(conf), int(seed), rbd_max_clone_depth=3)
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
