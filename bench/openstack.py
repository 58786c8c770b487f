"""OpenStack's own drivers on cowshed, and the same on a Ceph cluster of one node.

glance_store, Nova's, Cinder's and Cinder backup's drivers run unmodified, each service in a process of its
own, alike on both. What is timed is a driver's call, from when its service is told until it has answered.
cowshed serves a store; Ceph is a monitor, a manager and an OSD with BlueStore in a file, with the delays that
it is shipped with. Both lie in the same directory, and both are durable: cowshed syncs before it answers, and
BlueStore syncs its file at each commit. They take turns, round by round; while one is measured the other
only lives.

A control operation is one that on a store with shared blocks moves no data, also where Ceph copies, flattens
or deletes piece by piece for it. Bulk is what moves bytes in any case. What changes nothing has no bar: to
ask for statistics, and what starts the program `ceph` and does little else, a Python program on both.
"""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from bench import sizes
from bench.figures import Bar, Figure, at_least, ratio
from bench.lab import PIECE, Lab
from bench.peers import Missing
from bench.rounds import Laps, interleave
from bench.sizes import MIB

if TYPE_CHECKING:
    from bench.clouds import Cloud
    from openstack.harness.process import Service

TOPIC = "openstack"
CONTROL, BULK = 10.0, 1.0
DRIVERS_OWN = 0.95
"""Where nearly all of the time on both is the driver's own, and which one comes out first is chance."""
NEEDED = {"glance_store": "glance_store", "nova": "nova", "cinder": "cinder", "os_brick": "os-brick"}
Timed = Callable[..., Any]
"""`timed(name, service, call, …)`: the service's answer; what it took is noted for `name`."""


def run(lab: Lab) -> list[Figure]:
    if absent := [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]:
        lab.peers.lacks(f"no {', '.join(absent)}, so no topic {TOPIC}: pip install 'cowshed[test-openstack]'")
        return []
    from bench import clouds

    files = Files(lab)
    with ExitStack() as stack:
        lab.say("a cluster of one node, a daemon, and services with OpenStack's drivers")
        try:
            ceph = stack.enter_context(clouds.ceph_target(lab))
        except Missing as missing:
            lab.peers.lacks(f"no Ceph cluster, so no topic {TOPIC}: {missing}")
            return []
        targets = [stack.enter_context(clouds.cowshed_target(lab)), ceph]
        both = [Rounds(stack.enter_context(clouds.cloud(lab, target)), files) for target in targets]
        for each in both:
            each.prepare()
        lab.say("control operations of the drivers")
        control = interleave(lab.sizes.cloud_calls, *(each.control for each in both))
        lab.say("images and backups by the drivers")
        bulk = interleave(lab.sizes.cloud_rounds, *(each.bulk for each in both))
    files.remove()
    names = both[0].names
    return [
        *_figures(control, names["control"], at_least(CONTROL)),
        *_figures(control, names["for information"]),
        *_figures(bulk, names["control of data"], at_least(CONTROL)),
        *_figures(bulk, names["bulk"], at_least(BULK)),
        *_figures(bulk, names["bulk of zeros"], at_least(DRIVERS_OWN)),
    ]


def _figures(laps: Laps, names: Sequence[str], bar: Bar | None = None) -> list[Figure]:
    figures = []
    for name in names:
        ours, theirs = f"{name}, cowshed", f"{name}, ceph"
        note = f"{_text(laps, ours)} against {_text(laps, theirs)}"
        figures.append(
            ratio(TOPIC, f"{name}: Ceph ÷ cowshed, times", laps.ratio(theirs, ours), bar, note=note)
        )
    return figures


def _text(laps: Laps, name: str) -> str:
    seconds = laps.seconds(name).median
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


class Files:
    """What is uploaded."""

    def __init__(self, lab: Lab) -> None:
        self.size = lab.sizes.cloud_image
        self.full = lab.path("cloud-full.raw")
        self.sparse = lab.path("cloud-sparse.raw")
        self.changed = lab.sizes.cloud_changed
        dice = lab.dice("openstack")
        with self.full.open("wb") as full, self.sparse.open("wb") as sparse:
            sparse.truncate(self.size)
            for at in range(0, self.size, PIECE):
                full.write(piece := dice.randbytes(PIECE))
                if at % (16 * PIECE) == 0:
                    sparse.seek(at)
                    sparse.write(piece)

    def remove(self) -> None:
        self.full.unlink()
        self.sparse.unlink()


class Rounds:
    """What is done on one of the two, again and again."""

    def __init__(self, cloud: Cloud, files: Files) -> None:
        self.cloud = cloud
        self.files = files
        self.names: dict[str, list[str]] = {}
        self.turn = 0
        self.base = ""
        self.url = ""

    def prepare(self) -> None:
        """An image to clone, and a volume to back up."""
        self.base = str(uuid.uuid4())
        self.url = self.cloud.glance.call("add", self.base, str(self.files.full))["url"]
        self.cloud.nova.call("know", self.base, self.url, str(self.files.full))
        self.cloud.cinder.call("create", "data")
        self.cloud.cinder.call("write_file", "data", str(self.files.full))

    def _timing(self, laps: Laps, kind: str) -> Timed:
        known = self.names.setdefault(kind, [])

        def timed(name: str, service: Service, call: str, *arguments: Any, **keywords: Any) -> Any:
            if name not in known:
                known.append(name)
            with laps.time(f"{name}, {self.cloud.name}"):
                return service.call(call, *arguments, **keywords)

        return timed

    def control(self, laps: Laps) -> None:
        """What moves no data anywhere, but that which is written to be reverted or deleted."""
        self.turn += 1
        timed, told = self._timing(laps, "control"), self._timing(laps, "for information")
        turn = self.turn
        nova, cinder = self.cloud.nova, self.cloud.cinder
        guest = str(uuid.uuid4())
        volume, snapshot, clone, copy, imaged = (f"{name}{turn}" for name in ("v", "s", "c", "f", "i"))

        timed("Nova, spawn from an image", nova, "spawn", guest, self.base, 1)
        timed("Nova, resize to 2 GiB", nova, "spawn", guest, self.base, 2, task_state="resize_finish")
        timed("Nova, confirm the resize", nova, "confirm_resize", guest)
        timed("Nova, delete an instance's disks", nova, "cleanup", guest)
        told("Nova, its pool's space", nova, "pool_info")

        timed("Cinder, volume create", cinder, "create", volume)
        told("Cinder, attach and detach", cinder, "connect", volume)
        cinder.call("write", volume, 16, MIB, 8 * MIB, turn)
        timed("Cinder, snapshot create", cinder, "snapshot", snapshot, volume)
        timed("Cinder, volume from a snapshot", cinder, "from_snapshot", copy, snapshot)
        timed("Cinder, volume from a volume", cinder, "clone", clone, volume)
        timed("Cinder, volume from an image", cinder, "from_image", imaged, self.url)
        cinder.call("write", volume, 16, MIB, 8 * MIB, turn + 1000)
        timed("Cinder, revert to a snapshot", cinder, "revert", volume, snapshot)
        timed("Cinder, extend", cinder, "extend", copy, 2)
        timed("Cinder, volume delete, one that was cloned from a snapshot", cinder, "delete", copy)
        cinder.call("delete", clone)
        cinder.call("delete", imaged)
        timed("Cinder, snapshot delete", cinder, "delete_snapshot", snapshot)
        timed("Cinder, volume delete, one with 16 MiB of data", cinder, "delete", volume)
        told("Cinder, its pool's statistics", cinder, "stats")

    def bulk(self, laps: Laps) -> None:
        """Images and backups, and what is done to them as a whole."""
        self.turn += 1
        size = sizes.text(self.files.size)
        self._images(laps, size)
        self._backups(laps, size)

    def _images(self, laps: Laps, size: str) -> None:
        moved, timed = self._timing(laps, "bulk"), self._timing(laps, "control of data")
        glance, nova, path = self.cloud.glance, self.cloud.nova, self.files.full
        image, sparse, taken, guest = (str(uuid.uuid4()) for _ in range(4))
        added = moved(f"Glance, upload of {size}", glance, "add", image, str(path))
        read = moved(f"Glance, download of {size}", glance, "read", added["url"])
        assert read["sha256"] == added["sha256"], "what was downloaded is not what was uploaded"
        timed(f"Glance, delete of {size}", glance, "delete", added["url"])
        # glance_store looks for zeros byte by byte, in Python.
        mostly = self._timing(laps, "bulk of zeros")
        name = f"Glance, upload of {size} with a sixteenth of data"
        thin = mostly(name, glance, "add", sparse, str(self.files.sparse))
        glance.call("delete", thin["url"])
        moved(f"Nova, import of {size}", nova, "import_file", guest, str(path), "disk.local")
        nova.call("cleanup", guest)
        nova.call("spawn", guest, self.base, 1)
        name = f"Nova, snapshot of an instance with {size}, flattened"
        location = timed(name, nova, "snapshot", guest, "taken", taken, self.base)
        nova.call("cleanup", guest)
        glance.call("delete", location)

    def _backups(self, laps: Laps, size: str) -> None:
        moved, timed = self._timing(laps, "bulk"), self._timing(laps, "control of data")
        cinder, turn = self.cloud.cinder, self.turn
        changed = self.files.changed
        full, difference, restored = (f"{name}{turn}" for name in ("full", "diff", "restored"))
        moved(f"Cinder backup, full, of {size}", cinder, "back_up", full, "data")
        cinder.call("write", "data", changed // MIB, MIB, self.files.size // (changed // MIB), turn)
        name = f"Cinder backup, differential, {sizes.text(changed)} of {size} changed"
        moved(name, cinder, "back_up", difference, "data", full)
        cinder.call("create", restored)
        moved(f"Cinder backup, restore of {size}", cinder, "restore", difference, restored)
        cinder.call("delete", restored)
        timed("Cinder backup, delete of a differential one", cinder, "delete_backup", difference)
        timed(f"Cinder backup, delete of a full one of {size}", cinder, "delete_backup", full)
