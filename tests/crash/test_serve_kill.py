"""`kill -9` of a process that serves disks over NBD, at any moment of the work of several clients.

Each disk is written by two clients over connections of their own, each in its half of the disk, one
request after the other. After the store was opened again, each block holds what was in it when a flush
that was acknowledged began, or something that was written to it later; a write with FUA needs no flush.
Meanwhile the owner of the store takes snapshots, which must show one moment of each client's work, and
never change.

Set COWSHED_SEED to repeat a run as far as the scheduler lets it be repeated, COWSHED_ROUNDS to prolong it.
What a kill can prove and what it cannot is told in test_kill.py.
"""

from __future__ import annotations

import os
import queue
import random
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from model.kernel_module import REAL, KernelError
from nbd.history import BLOCK, Region, fill, tokens

if TYPE_CHECKING:
    from cowshed._kernel import Kernel, NbdClient

ROUNDS = int(os.environ.get("COWSHED_ROUNDS", "12"))
DISKS = 2
BLOCKS = 96
"""Of a region: half of a disk."""
CHILD = Path(__file__).with_name("serving_child.py")


@pytest.fixture
def seed() -> str:
    seed = os.environ.get("COWSHED_SEED") or str(random.randrange(1 << 32))
    print(f"COWSHED_SEED={seed}")
    return seed


@dataclass
class Client:
    """One of the two who write a disk."""

    disk: str
    half: int
    region: Region = field(default_factory=lambda: Region(BLOCKS))
    acknowledged: int = 0
    """The last write that was."""
    neighbours: list[Client] = field(default_factory=list)
    """All clients of the disk: a flush is for the writes of all of them."""
    requests: int = 0

    def work(self, address: str, seed: str, asked: threading.Lock) -> None:
        """Until the server is gone. The lock: no two threads change what is known at once."""
        from cowshed._kernel import NbdClient

        rng = random.Random(seed)
        try:
            with NbdClient.connect(address, self.disk) as nbd:
                while True:
                    self.step(nbd, rng, asked)
                    self.requests += 1
        except KernelError as error:
            if error.kind not in ("io", "missing"):
                raise

    def step(self, nbd: NbdClient, rng: random.Random, asked: threading.Lock) -> None:
        first = rng.randrange(BLOCKS)
        count = min(rng.choice([1, 1, 2, 10, 50]), BLOCKS - first)
        offset = (self.half * BLOCKS + first) * BLOCK
        kind = rng.random()
        if kind < 0.1:
            self.region.compare(tokens(nbd.read(offset, count * BLOCK)), first)
        elif kind < 0.2:
            with asked:
                marks = [(other.region, other.acknowledged) for other in self.neighbours]
            nbd.flush()
            with asked:
                for region, upto in marks:
                    region.lasts(upto)
        else:
            zeros, fua = kind < 0.3, kind > 0.8
            with asked:
                write = self.region.begin(first, count, zeros)
            if zeros:
                nbd.discard(offset, count * BLOCK)
            else:
                nbd.write(offset, fill(write.number, count), fua=fua)
            with asked:
                self.acknowledged = write.number
                if fua:
                    self.region.lasts(write.number, write.blocks)

    def half_of(self, content: bytes) -> list[int]:
        size = BLOCKS * BLOCK
        return tokens(content[self.half * size : (self.half + 1) * size])


@dataclass
class Snapshot:
    name: str
    earliest: list[int]
    """Of each client, the last write that was acknowledged before the snapshot was asked for."""
    latest: list[int] = field(default_factory=list)
    """Of each client, the last write that was begun before the snapshot was there; empty while it is not."""


def versions(kernel: Kernel) -> dict[str, int]:
    """What is in the store: disks and snapshots by name."""
    return {key.decode().partition("/")[2]: int(value) for key, value in kernel.scan(b"disk/")}


def content(kernel: Kernel, version: int) -> bytes:
    disk = kernel.disk(version)
    return disk.read(0, disk.size)


@pytest.mark.skipif(not REAL, reason="cowshed._kernel is not built")
def test_killed_while_it_serves(tmp_path: Path, seed: str) -> None:
    from cowshed._kernel import Kernel

    path = tmp_path / "store"
    Kernel.create(path)
    rng = random.Random(seed)
    disks = [f"disk{number}" for number in range(DISKS)]
    clients = [Client(disk, half) for disk in disks for half in range(2)]
    with Kernel.open(path) as kernel, kernel.transaction() as transaction:
        for disk in disks:
            version = transaction.create(2 * BLOCKS * BLOCK)
            transaction.put(f"disk/{disk}".encode(), str(version).encode())
    for client in clients:
        client.neighbours = [other for other in clients if other.disk == client.disk]
    kept: dict[str, bytes] = {}
    taken = 0
    for round_ in range(ROUNDS):
        snapshots = run_and_kill(path, tmp_path / f"socket{round_}", f"{seed} {round_}", clients, rng)
        taken += sum(bool(snapshot.latest) for snapshot in snapshots)
        with Kernel.open(path, wait_seconds=10, background=False) as kernel:
            assert kernel.check() == []
            found = versions(kernel)
            compare_snapshots(kernel, found, snapshots, clients, kept)
            for client in clients:
                now = client.half_of(content(kernel, found[client.disk]))
                client.region.compare(now)
                client.region.found(now)
                client.acknowledged = client.region.number
            drop_some(kernel, found, kept, rng)
    assert sum(client.requests for client in clients) > 10 * ROUNDS
    assert taken > ROUNDS // 2


def run_and_kill(
    path: Path, socket: Path, seed: str, clients: list[Client], rng: random.Random
) -> list[Snapshot]:
    """Have a process serve the store, clients work and snapshots taken; kill it; the snapshots asked for."""
    command = [sys.executable, str(CHILD), str(path), str(socket), seed]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin
    assert child.stdout
    assert child.stderr
    asked = threading.Lock()
    snapshots: list[Snapshot] = []
    failures: queue.Queue[BaseException] = queue.Queue()

    def guarded(client: Client, number: int) -> None:
        try:
            client.work(f"unix:{socket}", f"{seed} {number}", asked)
        except BaseException as failure:
            failures.put(failure)

    threads = [
        threading.Thread(target=guarded, args=(client, number)) for number, client in enumerate(clients)
    ]
    try:
        said = child.stdout.readline()
        assert said == b"serving\n", child.stderr.read().decode()
        for thread in threads:
            thread.start()
        killer = threading.Timer(rng.choice([0.0, rng.uniform(0, 0.1), rng.uniform(0, 0.6)]), child.kill)
        killer.start()
        take_snapshots(child, seed, clients, asked, snapshots)
        killer.join()
    finally:
        child.kill()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        complaint = child.stderr.read().decode()
        child.wait()
        for pipe in (child.stdout, child.stderr):
            pipe.close()
    assert complaint == ""
    if not failures.empty():
        raise failures.get()
    return snapshots


def take_snapshots(
    child: subprocess.Popen[bytes],
    seed: str,
    clients: list[Client],
    asked: threading.Lock,
    snapshots: list[Snapshot],
) -> None:
    """One after the other, until the child is gone."""
    assert child.stdin
    assert child.stdout
    rng = random.Random(seed)
    for number in range(10_000):
        disk = rng.choice(clients).disk
        name = f"{disk}@{seed.replace(' ', '-')}-{number}"
        with asked:
            snapshots.append(Snapshot(name, [client.acknowledged for client in clients]))
        try:
            child.stdin.write(name.encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            break
        if child.stdout.readline() != name.encode() + b"\n":
            break
        with asked:
            snapshots[-1].latest = [client.region.number for client in clients]
        time.sleep(rng.uniform(0, 0.02))
    # What could not be written any more.
    try:
        child.stdin.close()
    except BrokenPipeError:
        return


def compare_snapshots(
    kernel: Kernel,
    found: dict[str, int],
    snapshots: list[Snapshot],
    clients: list[Client],
    kept: dict[str, bytes],
) -> None:
    """All that were acknowledged are there, with a moment of each client's work; none has changed."""
    for name, old in kept.items():
        assert content(kernel, found[name]) == old, f"the snapshot {name} has changed"
    for snapshot in snapshots:
        if not snapshot.latest and snapshot.name not in found:
            continue
        assert snapshot.name in found, f"the snapshot {snapshot.name} was acknowledged, and is not there"
        now = content(kernel, found[snapshot.name])
        for number, client in enumerate(clients):
            if snapshot.name.startswith(f"{client.disk}@"):
                latest = snapshot.latest[number] if snapshot.latest else client.region.number
                client.region.compare_moment(client.half_of(now), snapshot.earliest[number], latest)
        kept[snapshot.name] = now
    assert set(found) == {client.disk for client in clients} | set(kept)


def drop_some(kernel: Kernel, found: dict[str, int], kept: dict[str, bytes], rng: random.Random) -> None:
    """Leave a few snapshots."""
    for name in rng.sample(list(kept), max(0, len(kept) - 3)):
        with kernel.transaction() as transaction:
            transaction.drop(found[name])
            transaction.delete(f"disk/{name}".encode())
        del kept[name]


def test_what_the_comparison_sees() -> None:
    """A lost write, one that came back, half a write before its turn, a state that never was."""
    region = Region(4)
    for first, count in [(0, 2), (1, 2), (0, 4)]:
        region.begin(first, count, zeros=False)
    region.lasts(2)
    region.compare([1, 2, 2, 0])
    region.compare([3, 2, 3, 3])
    for lost in ([0, 2, 2, 0], [1, 1, 2, 0], [1, 2, 0, 0], [1, 2, 2, 4]):
        with pytest.raises(AssertionError, match="not one of"):
            region.compare(lost)
    assert region.compare_moment([1, 1, 0, 0], 1, 3) == 1
    assert region.compare_moment([1, 1, 2, 0], 0, 3) == 1
    assert region.compare_moment([3, 2, 2, 3], 0, 3) == 2
    assert region.compare_moment([3, 3, 3, 3], 0, 3) in (2, 3)
    for never, earliest, latest in (([3, 1, 0, 0], 0, 3), ([1, 1, 0, 0], 2, 3), ([3, 3, 3, 3], 0, 1)):
        with pytest.raises(AssertionError, match="a state that never was"):
            region.compare_moment(never, earliest, latest)
    region.lasts(3, [0])
    with pytest.raises(AssertionError, match="block 0"):
        region.compare([1, 2, 2, 0])
    with pytest.raises(AssertionError, match="a mixture"):
        tokens(fill(1, 1)[:-8] + fill(2, 1)[:8])
