"""What is mapped on this host: a directory for each mapping, in /run/cowshed/maps or below $COWSHED_RUN.

    maps/lock           held by whoever adds a mapping or clears stale ones away
    maps/3/lock         held by the process that serves mapping 3, for as long as it lives
    maps/3/record       what it is, as JSON; written when the device is there
    maps/3/mount        where its file system is mounted

A lock ends with its process, however that ended: so a mapping whose lock is free is stale. Only a device that
Linux's own NBD client serves has no process; it is stale when the device is connected no more.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cowshed.attach import links
from cowshed.errors import from_os_error
from cowshed.store import ImageSpec, SnapSpec

_LOCK, _RECORD, MOUNT = "lock", "record", "mount"


@dataclass(frozen=True, slots=True)
class Mapping:
    """An image or a snapshot that is a block device of this host."""

    id: int
    pool: str
    namespace: str
    image: str
    snapshot: str
    """"" for the image itself."""
    device: str
    """The path of the block device."""
    kind: str
    """`fuse` or `nbd`."""
    read_only: bool
    server: str
    """The address of the NBD server: `unix:PATH` or `tcp:HOST:PORT`; or the daemon's, `cowshed://HOST:PORT`."""
    pid: int
    """The process that serves it (fuse), or what the operating system says of the device (nbd)."""
    since: float
    """Seconds since the epoch."""
    link: str = ""
    """Its name in /dev/rbd, where it was given one."""

    @property
    def spec(self) -> ImageSpec | SnapSpec:
        """The image's or the snapshot's name."""
        image = ImageSpec(self.pool, self.namespace, self.image)
        return image.at(self.snapshot) if self.snapshot else image


@dataclass(frozen=True, slots=True)
class Slot:
    """The directory of one mapping."""

    id: int
    path: Path

    @property
    def mount(self) -> Path:
        """Where its file system is mounted."""
        return self.path / MOUNT

    def record(self) -> Mapping | None:
        """What it is; None when that was never written, or is damaged."""
        with suppress(OSError, ValueError, TypeError):
            return Mapping(**json.loads((self.path / _RECORD).read_bytes()))
        return None

    def write(self, mapping: Mapping) -> None:
        """Say what it is."""
        whole = self.path / f"{_RECORD}.new"
        whole.write_text(json.dumps(asdict(mapping)))
        whole.rename(self.path / _RECORD)

    def served(self) -> bool:
        """Whether some process holds its lock."""
        try:
            descriptor = os.open(self.path / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def ended(self, seconds: float) -> bool:
        """Wait until nobody serves it any more; False when that takes longer."""
        end = time.monotonic() + seconds
        while self.served():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def remove(self) -> None:
        """Forget it. What is mounted in it must be unmounted before: nothing of that is removed.

        Raises PermissionDenied, IOFailure.
        """
        record = self.record()
        if record is not None and record.link:
            links.remove(Path(record.link), record.device)
        try:
            # The lock goes last: as long as it is there and held, nobody else clears this away.
            for name in (_RECORD, f"{_RECORD}.new"):
                (self.path / name).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                self.mount.rmdir()
            (self.path / _LOCK).unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                self.path.rmdir()
        except OSError as error:
            raise from_os_error(error, f"removing {self.path}") from None


class Register:
    """All mappings of this host."""

    def __init__(self, room: Path | None = None) -> None:
        self.room = (room or Path(os.environ.get("COWSHED_RUN") or "/run/cowshed")) / "maps"

    def slots(self) -> list[Slot]:
        """All that there are, by id."""
        try:
            names = [entry.name for entry in os.scandir(self.room)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise from_os_error(error, f"reading {self.room}") from None
        return [
            Slot(number, self.room / str(number)) for number in sorted(int(n) for n in names if n.isdecimal())
        ]

    @contextmanager
    def held(self) -> Iterator[None]:
        """While it lasts, nobody else adds a mapping or clears one away.

        Raises PermissionDenied, IOFailure.
        """
        try:
            self.room.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.room / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise from_os_error(error, f"making {self.room}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def add(self) -> tuple[Slot, int]:
        """A new slot with the lowest free id, and a descriptor that holds its lock. Within `held`."""
        taken = {slot.id for slot in self.slots()}
        number = next(n for n in range(len(taken) + 1) if n not in taken)
        slot = Slot(number, self.room / str(number))
        try:
            slot.path.mkdir()
            slot.mount.mkdir(mode=0o700)
            descriptor = os.open(slot.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            shutil.rmtree(slot.path, ignore_errors=True)
            raise from_os_error(error, f"making {slot.path}") from None
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return slot, descriptor
