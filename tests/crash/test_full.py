"""A store on a real file system that is filled under load, and has space again.

Whoever writes what needs space is refused meanwhile; all that needs none goes on: reading, removing things.
When there is space again, everything goes on, and nothing that was done is lost.

It mounts file systems, and so needs root. Set COWSHED_SEED to repeat a run as far as the scheduler lets it be
repeated.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from model.kernel_module import BLOCK_SIZE, REAL, KernelError

if TYPE_CHECKING:
    from cowshed._kernel import Kernel

pytestmark = pytest.mark.skipif(
    not REAL or os.geteuid() != 0, reason="needs cowshed._kernel, and root to mount"
)

MIB = 1 << 20
SIZES = {"tmpfs": 96 * MIB, "ext4": 128 * MIB, "xfs": 400 * MIB, "btrfs": 400 * MIB}
DISK = 16 * MIB
WRITERS = 3
DEADLINE = 60.0
"""Seconds that anything may take."""


@pytest.fixture
def seed() -> str:
    seed = os.environ.get("COWSHED_SEED") or str(random.randrange(1 << 32))
    print(f"COWSHED_SEED={seed}")
    return seed


@pytest.fixture(params=sorted(SIZES))
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """An empty file system of a kind."""
    kind, where = request.param, tmp_path / "mounted"
    where.mkdir()
    if kind == "tmpfs":
        command = ["mount", "-t", "tmpfs", "-o", f"size={SIZES[kind]}", "tmpfs", str(where)]
    else:
        image = tmp_path / "image"
        image.touch()
        os.truncate(image, SIZES[kind])
        make = shutil.which(f"mkfs.{kind}")
        if make is None:
            pytest.skip(f"there is no mkfs.{kind}")
        subprocess.run([make, "-q", str(image)], check=True, capture_output=True)
        command = ["mount", "-t", kind, "-o", "loop", str(image), str(where)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot mount {kind}: {done.stderr.strip()}")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def token_block(token: int) -> bytes:
    return token.to_bytes(8, "little") * (BLOCK_SIZE // 8)


def token_of(block: bytes) -> int:
    token = int.from_bytes(block[:8], "little")
    assert block == token_block(token), "a block is torn"
    return token


Blocks = dict[int, set[int]]
"""The tokens that a block may hold; what is not there is zero."""


def compare(found: bytes, blocks: Blocks) -> None:
    for index in range(len(found) // BLOCK_SIZE):
        token = token_of(found[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE])
        assert token in blocks.get(index, {0}), f"block {index} holds {token}"


def is_refused(act: Callable[[], object]) -> bool:
    """Whether there is no space for it."""
    try:
        act()
    except KernelError as error:
        if error.kind != "no-space":
            raise
        return True
    return False


def wait_to_grow(
    what: str, counts: Callable[[], list[int]], by: int, before: list[int] | None = None
) -> None:
    deadline = time.monotonic() + DEADLINE
    before = before or counts()
    while any(now < then + by for now, then in zip(counts(), before, strict=True)):
        assert time.monotonic() < deadline, f"no more {what}: {counts()} after {before}"
        time.sleep(0.01)


class Writer(threading.Thread):
    """Writes a disk of its own, takes snapshots of it, and reads all of it."""

    def __init__(self, kernel: Kernel, number: int, seed: str) -> None:
        super().__init__()
        self.kernel = kernel
        self.rng = random.Random(f"{seed} {number}")
        with kernel.transaction() as txn:
            self.head = txn.create(DISK)
        self.disk = kernel.disk(self.head)
        self.blocks: Blocks = {}
        self.frozen: dict[int, Blocks] = {}
        self.changing = threading.Lock()
        """Held around what changes `frozen`."""
        self.token = number
        self.wrote = self.refused = self.flushed = self.read = 0
        self.stopping = False
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stopping:
                self.rng.choices([self.write, self.freeze, self.flush, self.verify], [60, 3, 5, 5])[0]()
        except BaseException as error:
            self.error = error
            raise

    def write(self) -> None:
        first = self.rng.randrange(DISK // BLOCK_SIZE - 16)
        count = self.rng.randrange(1, 17)
        self.token += WRITERS
        done = self.attempt(lambda: self.disk.write(first * BLOCK_SIZE, token_block(self.token) * count))
        for index in range(first, first + count):
            before = self.blocks.get(index, {0})
            self.blocks[index] = {self.token} if done else before | {self.token}
        self.wrote += done

    def freeze(self) -> None:
        with self.changing:
            txn = self.kernel.transaction()
            frozen = txn.freeze(self.head)
            done = self.attempt(txn.commit)
            found = {info.id for info in self.kernel.versions(limit=100000)}
            assert frozen in found or not done
            if frozen in found:
                self.frozen[frozen] = {index: set(tokens) for index, tokens in self.blocks.items()}

    def flush(self) -> None:
        self.flushed += self.attempt(self.kernel.flush)

    def verify(self) -> None:
        """Reading never fails."""
        compare(self.disk.read(0, DISK), self.blocks)
        with self.changing:
            if self.frozen:
                version, blocks = self.rng.choice(list(self.frozen.items()))
                compare(self.kernel.disk(version).read(0, DISK), blocks)
        self.read += 1

    def attempt(self, act: Callable[[], object]) -> bool:
        done = not is_refused(act)
        self.refused += not done
        return done

    def remove_snapshots(self) -> None:
        """Which needs no space."""
        with self.changing:
            versions = list(self.frozen)
            self.frozen.clear()
            for version in versions:
                with self.kernel.transaction() as txn:
                    txn.drop(version)


def test_filled_under_load(mounted: Path, seed: str) -> None:
    from cowshed._kernel import Kernel

    store, ballast = mounted / "store", mounted / "ballast"
    Kernel.create(store)
    with Kernel.open(store) as kernel:
        writers = work_while_full(kernel, ballast, seed)
    with Kernel.open(store, background=False) as kernel:
        assert kernel.check() == []
        for writer in writers:
            compare(kernel.disk(writer.head).read(0, DISK), writer.blocks)
            for version, blocks in writer.frozen.items():
                compare(kernel.disk(version).read(0, DISK), blocks)


def work_while_full(kernel: Kernel, ballast: Path, seed: str) -> list[Writer]:
    """Writers and a file system that is full again and again; when it is not, and all is flushed."""
    writers = [Writer(kernel, number, seed) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    try:
        for round_ in range(3):
            ballast.write_bytes(b"")
            fill_file(ballast, leave=24 * MIB)
            wait_to_grow("errors, it being full", lambda: [writer.refused for writer in writers], 20)
            wait_to_grow("reads", lambda: [writer.read for writer in writers], 2)
            assert kernel.check() == []
            wrote = [writer.wrote for writer in writers]
            # There is space again by what is removed here, or by what others give back. Where nothing is
            # written in place, the log needs space too, and a hole gives back little.
            if round_ == 1 or is_btrfs(ballast):
                ballast.unlink()
            for writer in writers:
                writer.remove_snapshots()
            while kernel.reclaim() > 0:
                pass
            wait_to_grow("writes", lambda: [writer.wrote for writer in writers], 5, wrote)
        ballast.unlink(missing_ok=True)
        wait_to_grow("flushes", lambda: [writer.flushed for writer in writers], 2)
    finally:
        for writer in writers:
            writer.stopping = True
        for writer in writers:
            writer.join()
    assert [writer.error for writer in writers] == [None] * WRITERS
    for writer in writers:
        writer.verify()
    assert kernel.check() == []
    return writers


def is_btrfs(path: Path) -> bool:
    done = subprocess.run(["stat", "-f", "-c", "%T", str(path)], check=True, capture_output=True, text=True)
    return done.stdout.strip() == "btrfs"


def fill_file(path: Path, leave: int) -> None:
    """Have a file take what is free, but for some."""
    free = shutil.disk_usage(path.parent).free
    if free > leave:
        with path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, free - leave)


def test_full_to_the_last_block(mounted: Path, seed: str) -> None:
    """Nothing is left at all: all snapshots can be removed, and closing loses nothing."""
    from cowshed._kernel import Kernel

    store, ballast = mounted / "store", mounted / "ballast"
    rng = random.Random(seed)
    Kernel.create(store)
    kernel = Kernel.open(store, background=False)
    with kernel.transaction() as txn:
        head = txn.create(DISK)
    disk = kernel.disk(head)
    blocks: Blocks = {}
    for token in range(1, 700):
        index = rng.randrange(DISK // BLOCK_SIZE)
        disk.write(index * BLOCK_SIZE, token_block(token))
        blocks[index] = {token}
        with kernel.transaction() as txn:
            txn.freeze(head)
            txn.put(b"%d" % token, bytes(500))
    fill_to_the_last(ballast)
    free = next(i for i in range(DISK // BLOCK_SIZE) if i not in blocks)
    for token in range(1000, 5000):
        # As long as the blocks file has blocks of its own that are free.
        write = functools.partial(disk.write, free * BLOCK_SIZE, token_block(token))
        if full := is_refused(write):
            break
        blocks[free] = {token}
        with kernel.transaction() as txn:
            txn.freeze(head)
    assert full
    blocks[free] = blocks.get(free, {0}) | {token}
    compare(disk.read(0, DISK), blocks)
    snapshots = [info.id for info in kernel.versions(limit=10000) if not info.head]
    assert len(snapshots) >= 699
    for snapshot in snapshots:
        with kernel.transaction() as txn:
            txn.drop(snapshot)
    compare(disk.read(0, DISK), blocks)
    assert kernel.check() == []
    kernel.close()
    kernel = Kernel.open(store, background=False)
    compare(kernel.disk(head).read(0, DISK), blocks)
    assert [info.id for info in kernel.versions()] == [head]
    while kernel.reclaim() > 0:
        pass
    assert kernel.check() == []
    ballast.unlink()
    kernel.disk(head).write(0, token_block(7))
    kernel.flush()
    assert kernel.check() == []
    kernel.close()


def fill_to_the_last(path: Path) -> None:
    """Write until there is no space for one block more."""
    piece = bytes(MIB)
    with path.open("wb", buffering=0) as file:
        while piece:
            try:
                os.pwrite(file.fileno(), piece, file.seek(0, os.SEEK_END))
            except OSError:
                piece = piece[: len(piece) // 2] if len(piece) > 512 else b""
        os.fsync(file.fileno())
