"""A daemon whose file system fills under its guests' load, seen from where the guests are: over NBD.

Guests get ENOSPC and nothing worse, what they flushed stays, and they go on when there is space again. Needs
root, to mount a small file system.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cowshed
from cowshed.errors import NoSpace
from cowshed.store import Store
from model.kernel_module import BLOCK_SIZE, REAL, KernelError
from serve.daemons import serving

pytestmark = pytest.mark.skipif(
    not REAL or os.geteuid() != 0, reason="needs cowshed._kernel, and root to mount"
)

MIB = 1 << 20
SPACE = 96 * MIB
DISK = 64 * MIB
GUESTS = 3
DEADLINE = 60.0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    where = tmp_path / "small"
    where.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "tmpfs", str(where)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", str(where)], check=True)


class Guest(threading.Thread):
    """Writes blocks at random places, flushes now and then, and knows what each block may hold."""

    def __init__(self, socket: Path, number: int, seed: int) -> None:
        super().__init__()
        self._dice = random.Random(f"{seed} {number}")
        self._address = f"unix:{socket}"
        self._export = f"rbd/guest{number}"
        self._over = threading.Event()
        self.certain: dict[int, int] = {}
        """What was written last and acknowledged, by block."""
        self.doubtful: dict[int, set[int]] = {}
        """What was refused: a block of that write may be there or not."""
        self.refusals = 0
        self.wrong: list[str] = []

    def run(self) -> None:
        from cowshed._kernel import NbdClient

        token = 0
        with NbdClient.connect(self._address, self._export) as disk:
            while not self._over.is_set():
                token += 1
                block = self._dice.randrange(DISK // BLOCK_SIZE)
                try:
                    disk.write(block * BLOCK_SIZE, token.to_bytes(8, "little") * (BLOCK_SIZE // 8))
                    self.certain[block] = token
                    self.doubtful.pop(block, None)
                    if self._dice.random() < 0.02:
                        disk.flush()
                except KernelError as error:
                    self.doubtful.setdefault(block, set()).add(token)
                    self.refusals += 1
                    if error.kind != "no-space":
                        self.wrong.append(f"{error.kind}: {error}")
                        return
                    # It would be refused again and again: no need to do that as fast as can be.
                    self._over.wait(0.01)
            self.wrong.extend(self.missing(disk.read))

    def missing(self, read: Callable[[int, int], bytes]) -> list[str]:
        """What a disk does not hold and should."""
        wrong = []
        for block, token in self.certain.items():
            held = int.from_bytes(read(block * BLOCK_SIZE, 8), "little")
            if held != token and held not in self.doubtful.get(block, ()):
                wrong.append(f"block {block} holds {held}, and should hold {token}")
        return wrong

    def end(self) -> None:
        self._over.set()
        self.join(DEADLINE)
        assert not self.is_alive()


def wait_for(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)


def test_guests_of_a_full_store(small: Path) -> None:
    seed = int(os.environ.get("COWSHED_SEED") or random.randrange(1 << 32))
    print(f"COWSHED_SEED={seed}")
    path = small / "store"
    with cowshed.open(path, create=True) as store:
        for number in range(GUESTS):
            store.create(f"guest{number}", DISK)
        store.create("ballast", DISK)
        with store.open("ballast") as image:
            image.write(0, random.Random(seed).randbytes(24 * MIB))
    with serving(path), cowshed.open(path) as store:
        guests = [Guest(path / "nbd.sock", number, seed) for number in range(GUESTS)]
        for guest in guests:
            guest.start()
        wait_for("a full file system", lambda: all(guest.refusals for guest in guests))
        assert not any(guest.wrong for guest in guests)
        # Reading and removing need no space.
        with store.open("ballast", read_only=True) as image:
            assert image.read(0, BLOCK_SIZE) == random.Random(seed).randbytes(24 * MIB)[:BLOCK_SIZE]
        snapshots_while_full(store)
        before = [len(guest.certain) for guest in guests]
        store.remove("ballast")
        store.reclaim()
        wait_for(
            "room for all guests",
            lambda: all(len(guest.certain) > count for guest, count in zip(guests, before, strict=True)),
        )
        for guest in guests:
            guest.end()
            assert guest.wrong == []
        assert store.check() == []
    # Whatever was acknowledged and flushed on closing is there in a store that is opened anew.
    with cowshed.open(path) as store:
        assert store.check() == []
        for number, guest in enumerate(guests):
            with store.open(f"guest{number}", read_only=True) as image:
                assert guest.missing(image.read) == []


def snapshots_while_full(store: Store) -> None:
    """Each is taken whole, or refused for want of space."""
    for number in range(GUESTS):
        try:
            store.create_snapshot(f"guest{number}@full")
        except NoSpace:
            continue
    for number in range(GUESTS):
        for snapshot in store.snapshots(f"guest{number}"):
            store.remove_snapshot(f"guest{number}@{snapshot.name}")
