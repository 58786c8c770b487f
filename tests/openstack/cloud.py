"""A cloud with its four services at once: each does as it pleases with what the others made.

One thread for each service chooses what the service does next; the services are processes of their own. What
each disk must hold is kept here, and compared with what it holds.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openstack.claims import Thing, Things
from openstack.harness.process import DriverError, Service
from openstack.harness.scattered import GIB, PIECE, digest_of, piece, places

PICTURE = 32 << 20
"""The bytes of an uploaded image."""
MOST_IMAGES = 4
MOST_GUESTS = 4
MOST_VOLUMES = 6
MOST_SNAPSHOTS = 3
MOST_BACKUPS = 6
LARGEST_GIB = 3


@dataclass
class Disk:
    """What must be on a disk."""

    size: int
    seeds: dict[int, int] = field(default_factory=dict)
    """By offset, which piece; no zeros among them."""

    def copy(self, size: int | None = None) -> Disk:
        return Disk(size or self.size, dict(self.seeds))

    def change(self, dice: random.Random, count: int = 4) -> list[tuple[int, int]]:
        """Choose writes and take them in; one in six is of zeros."""
        writes = []
        for _ in range(count):
            offset = dice.choice([each for each in places(-(-self.size // GIB)) if each < self.size])
            seed = 0 if dice.random() < 1 / 6 else dice.randrange(1, 1 << 40)
            writes.append((offset, seed))
            self.seeds.pop(offset, None)
            if seed:
                self.seeds[offset] = seed
        return writes

    def digest(self) -> str:
        return digest_of(self.size, {offset: piece(seed) for offset, seed in self.seeds.items()})

    def sha256(self) -> str:
        """Of its bytes."""
        said, at = hashlib.sha256(), 0
        for offset in sorted(self.seeds):
            said.update(bytes(offset - at) + piece(self.seeds[offset]))
            at = offset + PIECE
        said.update(bytes(self.size - at))
        return said.hexdigest()


@dataclass(eq=False)
class Image(Thing):
    """Of Glance's."""

    id: str
    url: str
    disk: Disk
    holders: set[str] = field(default_factory=set)
    """Guests that are clones of format 1: while there are any it stays."""


@dataclass(eq=False)
class Guest(Thing):
    """An instance of Nova's."""

    uuid: str
    disk: Disk
    image: Image


@dataclass(eq=False)
class Volume(Thing):
    label: str
    disk: Disk
    snapshots: list[tuple[str, Disk]] = field(default_factory=list)
    gone: bool = False

    @property
    def gib(self) -> int:
        return self.disk.size // GIB


@dataclass
class Chain:
    """A volume's backups: a full one, and what changed since the one before."""

    volume: Volume
    backups: list[tuple[str, Disk]] = field(default_factory=list)


class Called:
    """A service that several threads may call: one at a time, as its pipe has it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()

    def __call__(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        with self._lock:
            return self._service.call(name, *arguments, **keywords)


class Cloud:
    """The services, and what they have made."""

    def __init__(self, services: dict[str, Service], formats: dict[int, Path], work: Path, seed: int) -> None:
        self.glance, self.nova, self.cinder, self.backup = (
            Called(services[name]) for name in ("glance", "nova", "cinder", "backup")
        )
        self.formats = {number: str(path) for number, path in formats.items()}
        """The ceph.conf for clones of each format. Cinder's are of format 2; Nova makes both."""
        self.work = work
        self.images: Things[Image] = Things()
        self.guests: Things[Guest] = Things()
        self.volumes: Things[Volume] = Things()
        self.chains: list[Chain] = []
        self.seed = seed
        self.done: dict[str, Counter[str]] = {}
        self._count = 0
        self._lock = threading.Lock()

    def run(self, seconds: float) -> None:
        """All four for so long; then everything is compared, and removed. Raises what went wrong first."""
        end = time.monotonic() + seconds
        failed = threading.Event()
        parts = (GlancePart, NovaPart, CinderPart, BackupPart)

        def go(number: int, part: type[Part]) -> None:
            mine = part(self, random.Random(self.seed + number))
            self.done[part.__name__.removesuffix("Part").lower()] = mine.done
            try:
                while time.monotonic() < end and not failed.is_set():
                    mine.step()
            except BaseException:
                failed.set()
                raise

        with ThreadPoolExecutor(len(parts)) as pool:
            for future in [pool.submit(go, number, part) for number, part in enumerate(parts)]:
                future.result()
        self.compare()
        self.remove()

    def label(self) -> str:
        with self._lock:
            self._count += 1
            return f"x{self._count}"

    def compare(self) -> None:
        """Every disk, snapshot and backup that there is."""
        for image in self.images.all():
            assert self.glance("read", image.url)["sha256"] == image.disk.sha256(), image.id
        for guest in self.guests.all():
            assert self.nova("digest", guest.uuid) == guest.disk.digest(), guest.uuid
        for volume in self.volumes.all():
            assert self.cinder("digest", volume.label) == volume.disk.digest(), volume.label
            for label, disk in volume.snapshots:
                assert self.cinder("digest_snapshot", label) == disk.digest(), label
        for chain in self.chains:
            for label, disk in chain.backups:
                assert self.backup("digest_backup", label) == disk.digest(), label

    def remove(self) -> None:
        """Everything, as its users would: clones before what they were cloned from."""
        for chain in self.chains:
            for label, _ in reversed(chain.backups):
                self.backup("delete_backup", label)
        for volume in reversed(self.volumes.all()):
            for label, _ in volume.snapshots:
                self.cinder("delete_snapshot", label)
            self.cinder("delete", volume.label)
        for guest in self.guests.all():
            self.nova("cleanup", guest.uuid)
            assert not self.nova("exists", guest.uuid)
        for image in self.images.all():
            self.glance("delete", image.url)


class Part:
    """What one service does, step by step."""

    def __init__(self, cloud: Cloud, dice: random.Random) -> None:
        self.cloud = cloud
        self.dice = dice
        self.done: Counter[str] = Counter()

    def choices(self) -> list[Callable[[], bool]]:
        """What may be done now; each says whether there was something to do."""
        raise NotImplementedError

    def step(self) -> None:
        act = self.dice.choice(self.choices())
        if act():
            self.done[act.__name__] += 1
        else:
            # Nothing to do of this kind while others are at it.
            time.sleep(0.01)


class GlancePart(Part):
    def choices(self) -> list[Callable[[], bool]]:
        return [self.upload, self.download, self.delete]

    def upload(self) -> bool:
        if len(self.cloud.images) >= MOST_IMAGES:
            return False
        disk = Disk(PICTURE)
        disk.change(self.dice, 6)
        id = str(uuid.uuid4())
        path = self.cloud.work / id
        with path.open("wb") as file:
            for offset, seed in disk.seeds.items():
                file.seek(offset)
                file.write(piece(seed))
            file.truncate(PICTURE)
        added = self.cloud.glance("add", id, str(path))
        assert added["sha256"] == disk.sha256()
        path.unlink()
        self.cloud.images.add(Image(id, added["url"], disk))
        return True

    def download(self) -> bool:
        with self.cloud.images.taken(self.dice) as image:
            if image:
                assert self.cloud.glance("read", image.url)["sha256"] == image.disk.sha256(), image.id
            return image is not None

    def delete(self) -> bool:
        """Refused exactly while it has clones of format 1; those of format 2 live on without it."""
        with self.cloud.images.taken(self.dice, alone=True) as image:
            if image is None:
                return False
            before = set(image.holders)
            if not self._deleted(image):
                assert before, f"{image.id} has no clone of format 1"
                assert self.cloud.glance("read", image.url)["sha256"] == image.disk.sha256(), image.id
                self.done["delete refused"] += 1
                return False
            # A guest may have ended meanwhile.
            assert not before & image.holders, f"{image.id} has clones of format 1: {image.holders}"
            self.cloud.images.remove(image)
            return True

    def _deleted(self, image: Image) -> bool:
        """False where the image is in use."""
        try:
            self.cloud.glance("delete", image.url)
        except DriverError as error:
            if error.kind != "InUseByStore":
                raise
            return False
        return True


class NovaPart(Part):
    def choices(self) -> list[Callable[[], bool]]:
        return [self.spawn, self.write, self.write, self.check, self.resize, self.snapshot, self.destroy]

    def spawn(self) -> bool:
        if len(self.cloud.guests) >= MOST_GUESTS:
            return False
        with self.cloud.images.taken(self.dice) as image:
            if image is None:
                return False
            id, number, gib = str(uuid.uuid4()), self.dice.choice((1, 2)), self.dice.choice((1, 2))
            self.cloud.nova("know", image.id, image.url, "/nowhere")
            if number == 1:
                image.holders.add(id)
            self.cloud.nova(
                "spawn", id, image.id, max(gib, image.disk.size // GIB), conf=self.cloud.formats[number]
            )
            size = max(gib * GIB, image.disk.size)
            self.cloud.guests.add(Guest(id, image.disk.copy(size), image))
            return True

    def write(self) -> bool:
        with self.cloud.guests.taken(self.dice, alone=True) as guest:
            if guest:
                self.cloud.nova("write", guest.uuid, guest.disk.change(self.dice))
            return guest is not None

    def check(self) -> bool:
        with self.cloud.guests.taken(self.dice) as guest:
            if guest:
                assert self.cloud.nova("digest", guest.uuid) == guest.disk.digest(), guest.uuid
            return guest is not None

    def resize(self) -> bool:
        fit = lambda guest: guest.disk.size < LARGEST_GIB * GIB  # noqa: E731
        with self.cloud.guests.taken(self.dice, alone=True, fit=fit) as guest:
            if guest:
                guest.disk.size += GIB
                self.cloud.nova("resize", guest.uuid, guest.disk.size)
            return guest is not None

    def snapshot(self) -> bool:
        """A new image of Glance's, made by Nova alone."""
        with self.cloud.guests.taken(self.dice, fit=lambda guest: guest.disk.size == GIB) as guest:
            if guest is None or len(self.cloud.images) >= MOST_IMAGES:
                return False
            id = str(uuid.uuid4())
            url = self.cloud.nova("snapshot", guest.uuid, self.cloud.label(), id, guest.image.id)
            self.cloud.images.add(Image(id, url, guest.disk.copy()))
            return True

    def destroy(self) -> bool:
        with self.cloud.guests.taken(self.dice, alone=True) as guest:
            if guest:
                self.cloud.nova("cleanup", guest.uuid)
                assert not self.cloud.nova("exists", guest.uuid)
                guest.image.holders.discard(guest.uuid)
                self.cloud.guests.remove(guest)
            return guest is not None


class CinderPart(Part):
    def choices(self) -> list[Callable[[], bool]]:
        return [
            self.create,
            self.from_image,
            self.clone,
            self.snapshot,
            self.from_snapshot,
            self.delete_snapshot,
            self.revert,
            self.extend,
            self.write,
            self.write,
            self.check,
            self.delete,
            self.stats,
        ]

    @property
    def full(self) -> bool:
        return len(self.cloud.volumes) >= MOST_VOLUMES

    def create(self) -> bool:
        if self.full:
            return False
        volume = Volume(self.cloud.label(), Disk(GIB))
        self.cloud.cinder("create", volume.label, 1)
        self.cloud.volumes.add(volume)
        return True

    def from_image(self) -> bool:
        with self.cloud.images.taken(self.dice) as image:
            if image is None or self.full:
                return False
            volume = Volume(self.cloud.label(), image.disk.copy(2 * GIB))
            assert self.cloud.cinder("from_image", volume.label, image.url, 2)
            self.cloud.volumes.add(volume)
            return True

    def clone(self) -> bool:
        with self.cloud.volumes.taken(self.dice) as source:
            if source is None or self.full:
                return False
            volume = Volume(self.cloud.label(), source.disk.copy())
            self.cloud.cinder("clone", volume.label, source.label)
            self.cloud.volumes.add(volume)
            return True

    def snapshot(self) -> bool:
        fit = lambda volume: len(volume.snapshots) < MOST_SNAPSHOTS  # noqa: E731
        with self.cloud.volumes.taken(self.dice, fit=fit) as volume:
            if volume:
                label = self.cloud.label()
                self.cloud.cinder("snapshot", label, volume.label)
                volume.snapshots.append((label, volume.disk.copy()))
            return volume is not None

    def from_snapshot(self) -> bool:
        with self.cloud.volumes.taken(self.dice, fit=lambda volume: bool(volume.snapshots)) as source:
            if source is None or self.full:
                return False
            snapshot, disk = self.dice.choice(source.snapshots)
            volume = Volume(self.cloud.label(), disk.copy())
            self.cloud.cinder("from_snapshot", volume.label, snapshot)
            self.cloud.volumes.add(volume)
            return True

    def delete_snapshot(self) -> bool:
        with self.cloud.volumes.taken(self.dice, fit=lambda volume: bool(volume.snapshots)) as volume:
            if volume:
                chosen = self.dice.choice(volume.snapshots)
                self.cloud.cinder("delete_snapshot", chosen[0])
                volume.snapshots.remove(chosen)
            return volume is not None

    def revert(self) -> bool:
        """To the latest one, of the same size, as Cinder's API has it."""
        fit = lambda each: bool(each.snapshots) and each.snapshots[-1][1].size == each.disk.size  # noqa: E731
        with self.cloud.volumes.taken(self.dice, alone=True, fit=fit) as volume:
            if volume:
                label, disk = volume.snapshots[-1]
                self.cloud.cinder("revert", volume.label, label)
                volume.disk = disk.copy()
            return volume is not None

    def extend(self) -> bool:
        with self.cloud.volumes.taken(
            self.dice, alone=True, fit=lambda volume: volume.gib < LARGEST_GIB
        ) as volume:
            if volume:
                volume.disk.size += GIB
                self.cloud.cinder("extend", volume.label, volume.gib)
            return volume is not None

    def write(self) -> bool:
        with self.cloud.volumes.taken(self.dice, alone=True) as volume:
            if volume:
                self.cloud.cinder("write_pieces", volume.label, volume.disk.change(self.dice))
            return volume is not None

    def check(self) -> bool:
        with self.cloud.volumes.taken(self.dice) as volume:
            if volume:
                assert self.cloud.cinder("digest", volume.label) == volume.disk.digest(), volume.label
                for label, disk in volume.snapshots:
                    assert self.cloud.cinder("digest_snapshot", label) == disk.digest(), label
            return volume is not None

    def delete(self) -> bool:
        """With its snapshots first, as the API wants it."""
        with self.cloud.volumes.taken(self.dice, alone=True) as volume:
            if volume:
                for label, _ in volume.snapshots:
                    self.cloud.cinder("delete_snapshot", label)
                self.cloud.cinder("delete", volume.label)
                volume.gone = True
                self.cloud.volumes.remove(volume)
            return volume is not None

    def stats(self) -> bool:
        assert self.cloud.cinder("stats")["backend_state"] == "up"
        return True


class BackupPart(Part):
    """cinder-backup; Cinder makes the volumes that it restores to."""

    def choices(self) -> list[Callable[[], bool]]:
        return [
            self.full,
            *[self.increment] * 3,
            self.restore,
            self.restore_over,
            self.delete_one,
            self.delete,
        ]

    @property
    def chains(self) -> list[Chain]:
        return self.cloud.chains

    def full(self) -> bool:
        backed = {id(chain.volume) for chain in self.chains}
        with self.cloud.volumes.taken(self.dice, fit=lambda volume: id(volume) not in backed) as volume:
            if volume:
                chain = Chain(volume)
                self._back_up(chain)
                self.chains.append(chain)
            return volume is not None

    def increment(self) -> bool:
        """Of a volume that others may clone or take snapshots of meanwhile."""
        short = {id(each.volume): each for each in self.chains if len(each.backups) < MOST_BACKUPS}
        with self.cloud.volumes.taken(self.dice, fit=lambda volume: id(volume) in short) as volume:
            if volume:
                self._back_up(short[id(volume)])
            return volume is not None

    def _back_up(self, chain: Chain) -> None:
        label = self.cloud.label()
        self._know(chain.volume)
        self.cloud.backup(
            "back_up", label, chain.volume.label, chain.backups[-1][0] if chain.backups else None
        )
        chain.backups.append((label, chain.volume.disk.copy()))

    def _know(self, volume: Volume) -> None:
        self.cloud.backup("know", volume.label, self.cloud.cinder("id", volume.label), volume.gib)

    def restore(self) -> bool:
        """To a volume that is new; the one that was backed up may be gone."""
        if not self.chains or len(self.cloud.volumes) >= MOST_VOLUMES:
            return False
        label, disk = self.dice.choice(self.dice.choice(self.chains).backups)
        volume = Volume(self.cloud.label(), disk.copy())
        self.cloud.cinder("create", volume.label, volume.gib)
        self._know(volume)
        self.cloud.backup("restore", label, volume.label)
        assert self.cloud.cinder("digest", volume.label) == disk.digest(), (label, volume.label)
        self.cloud.volumes.add(volume)
        return True

    def restore_over(self) -> bool:
        if not self.chains:
            return False
        label, disk = self.dice.choice(self.dice.choice(self.chains).backups)
        with self.cloud.volumes.taken(
            self.dice, alone=True, fit=lambda volume: volume.disk.size >= disk.size
        ) as volume:
            if volume:
                self._know(volume)
                self.cloud.backup("restore_over", label, volume.label)
                volume.disk = disk.copy(volume.disk.size)
                assert self.cloud.cinder("digest", volume.label) == volume.disk.digest(), (
                    label,
                    volume.label,
                )
            return volume is not None

    def delete_one(self) -> bool:
        """Out of the middle of its chain; the others stay whole."""
        if not (long := [chain for chain in self.chains if len(chain.backups) > 2]):
            return False
        chain = self.dice.choice(long)
        label, _ = chain.backups.pop(self.dice.randrange(1, len(chain.backups) - 1))
        self.cloud.backup("delete_backup", label)
        for label, disk in chain.backups:
            assert self.cloud.backup("digest_backup", label) == disk.digest(), label
        return True

    def delete(self) -> bool:
        """A chain, the newest first. One that can grow no more is preferred."""
        ended = [each for each in self.chains if each.volume.gone or len(each.backups) == MOST_BACKUPS]
        if not ended and len(self.chains) < MOST_VOLUMES // 2:
            return False
        chain = self.dice.choice(ended or self.chains)
        for label, _ in reversed(chain.backups):
            self.cloud.backup("delete_backup", label)
        self.chains.remove(chain)
        return True
