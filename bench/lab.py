"""Where the measuring is done: the directory, the sizes, the seed, and stores that take long to make."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cowshed
from bench import sizes
from bench.peers import Peers
from bench.sizes import Sizes
from cowshed.store import Store

BLOCK = 4096
PIECE = 4 << 20
BASE_BYTES = 64 << 20

DISK = "disk"
"""The image that every store here has."""


class Lab:
    """All files lie in one directory, so on one file system."""

    def __init__(self, directory: Path, size: Sizes, seed: int, peers: Peers) -> None:
        self.directory = directory
        self.sizes = size
        self.seed = seed
        self.peers = peers
        self.payload = memoryview(random.Random(seed).randbytes(PIECE))
        self._made: dict[str, Path] = {}

    def dice(self, what: str) -> random.Random:
        """Its own for each purpose, so that --only changes nothing."""
        return random.Random(f"{self.seed} {what}")

    def say(self, text: str) -> None:
        """What is going on, for who waits."""
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def path(self, name: str) -> Path:
        """Where a file or directory of that name goes; what is there is removed."""
        path = self.directory / name
        remove(path)
        return path

    def blocks(self, dice: random.Random, size: int, count: int) -> list[int]:
        """Offsets of `count` different blocks of a disk, in random order."""
        return [block * BLOCK for block in dice.sample(range(size // BLOCK), count)]

    def block(self, turn: int) -> memoryview:
        """Content for one block, not that of the turns around it."""
        at = turn * 4099 % (PIECE - BLOCK)
        return self.payload[at : at + BLOCK]

    def settle(self) -> None:
        """Let laps begin alike: nothing waits to be written."""
        os.sync()

    # --- stores that more than one topic needs

    def empty_store(self) -> Path:
        """A store whose `disk` has no block."""
        return self._once("empty", lambda store: store.create(DISK, self.sizes.mapped))

    def mapped_store(self) -> Path:
        """A store whose `disk` has every block."""

        def make(store: Store) -> None:
            self.say(f"writing an image of {sizes.text(self.sizes.mapped)}")
            store.create(DISK, self.sizes.mapped)
            self.fill(store, DISK)

        return self._once("mapped", make)

    def snapshots_store(self, count: int) -> Path:
        """A store whose `disk` has `count` snapshots, with a block written before each."""

        def make(store: Store) -> None:
            self.say(f"making {count:,} snapshots")
            store.create(DISK, sizes.GIB)
            dice = self.dice("snapshots")
            with store.open(DISK) as image:
                for i in range(count):
                    image.write(dice.randrange(sizes.GIB // BLOCK) * BLOCK, self.block(i))
                    store.create_snapshot(f"{DISK}@before{i}")

        return self._once(f"snapshots-{count}", make)

    def _once(self, name: str, make: Callable[[Store], None]) -> Path:
        if name not in self._made:
            path = self.path(f"store-{name}")
            with cowshed.open(path, create=True) as store:
                make(store)
            self._made[name] = path
        return self._made[name]

    def fill(self, store: Store, image: str) -> None:
        """Write every block of an image, in order, durably."""
        with store.open(image) as disk:
            for at in range(0, disk.size, PIECE):
                disk.write(at, self.payload[: min(PIECE, disk.size - at)])

    def fill_file(self, path: Path, size: int) -> None:
        """The same content as `fill`, in a plain file."""
        with path.open("wb") as file:
            for at in range(0, size, PIECE):
                file.write(self.payload[: min(PIECE, size - at)])
            file.flush()
            os.fsync(file.fileno())


class DurableWrite:
    """What control operations are measured by: one 4 KiB write + fdatasync into a file that is all there."""

    def __init__(self, lab: Lab, path: Path) -> None:
        self._lab = lab
        lab.fill_file(path, BASE_BYTES)
        self._descriptor = os.open(path, os.O_RDWR)
        self._dice = lab.dice("base")
        self._turn = 0

    def __call__(self) -> None:
        self._turn += 1
        at = self._dice.randrange(BASE_BYTES // BLOCK) * BLOCK
        os.pwrite(self._descriptor, self._lab.block(self._turn), at)
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> DurableWrite:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_afresh(path: Path) -> None:
    """Put a file out of the page cache and read it back in order.

    Else how it was written, in small pieces or large ones, would show in how its pages lie in memory.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        while os.read(descriptor, PIECE):
            pass
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """A file or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
