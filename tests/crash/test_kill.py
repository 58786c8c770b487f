"""`kill -9` of a real process at any moment: what it was told is done is there when the store is reopened.

What was given to the operating system survives a kill, synced or not. So this proves that opening recovers,
that transactions happen wholly or not at all, and that what is acknowledged is not merely in the process's
memory; it does not prove that syncs come where they must. kernel/tests/crash.rs does: it loses what was not
synced.

Set COWSHED_SEED to repeat a run as far as the scheduler lets it be repeated, COWSHED_ROUNDS to prolong it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from crash.oracle import SECTOR, Frozen, Head, Sectors, World
from model.kernel_module import REAL

ROUNDS = int(os.environ.get("COWSHED_ROUNDS", "20"))
THREADS = 3
CHILD = Path(__file__).with_name("child.py")


@pytest.fixture
def seed() -> str:
    seed = os.environ.get("COWSHED_SEED") or str(random.randrange(1 << 32))
    print(f"COWSHED_SEED={seed}")
    return seed


@pytest.mark.skipif(not REAL, reason="cowshed._kernel is not built")
def test_killed_again_and_again(tmp_path: Path, seed: str) -> None:
    from cowshed._kernel import Kernel

    path = tmp_path / "store"
    Kernel.create(path)
    rng = random.Random(seed)
    world = World(THREADS)
    calls = 0
    for round_ in range(ROUNDS):
        lines = run_and_kill(path, f"{seed} {round_}", world, rng)
        for line in lines:
            world.line(line)
        calls += sum("ok" in line for line in lines)
        with Kernel.open(path, wait_seconds=10, background=False) as kernel:
            verify(kernel, world)
            if rng.random() < 0.2:
                while kernel.reclaim() > 0:
                    pass
                verify(kernel, world)
    # However early each was killed, some got on.
    assert calls > ROUNDS


def run_and_kill(path: Path, seed: str, world: World, rng: random.Random) -> list[dict[str, Any]]:
    """Have a child work on the store, and kill it; the lines that it said."""
    state = [
        {
            "heads": {id_: head.size for id_, head in thread.heads.items()},
            "frozen": {id_: frozen.size for id_, frozen in thread.frozen.items()},
            "token": thread.token,
        }
        for thread in world.threads
    ]
    command = [sys.executable, str(CHILD), str(path), seed]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin
    assert child.stdout
    assert child.stderr
    child.stdin.write(json.dumps(state).encode())
    child.stdin.close()
    lines = []
    # Now and then while it opens the store, which may be recovering.
    for _ in range(rng.choice([0, 1, rng.randrange(30), rng.randrange(400), rng.randrange(400)])):
        line = child.stdout.readline()
        if not line:
            break
        lines.append(line)
    time.sleep(rng.randrange(2000) / 1e6)
    ended = child.poll()
    child.kill()
    lines += child.stdout.readlines()
    said = child.stderr.read().decode()
    child.stdout.close()
    child.stderr.close()
    child.wait()
    assert (ended, said) == (None, ""), "the child ended by itself"
    told = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [line for line in told if "opened" not in line]


def verify(kernel: Any, world: World) -> None:
    """Compare all of the store, and take over what was found where more than one thing may be."""
    assert kernel.check() == []
    keys = all_keys(kernel)
    for number in range(THREADS):
        own = {key: value for key, value in keys.items() if key.startswith(f"{number}/")}
        world.find(number, own)
    expected: dict[int, tuple[bool, int]] = {}
    for thread in world.threads:
        expected |= {id_: (True, head.size) for id_, head in thread.heads.items()}
        expected |= {id_: (False, frozen.size) for id_, frozen in thread.frozen.items()}
    found = {info.id: (info.head, info.size) for info in kernel.versions() if not info.hidden}
    assert found == expected
    for thread in world.threads:
        thread.begun = None
        for id_, frozen in thread.frozen.items():
            compare_frozen(id_, read(kernel.disk(id_)), frozen)
        for id_, head in thread.heads.items():
            sectors = read(kernel.disk(id_))
            compare_head(id_, sectors, head)
            thread.heads[id_] = Head(head.size, sectors)


def all_keys(kernel: Any) -> dict[str, Any]:
    """Long values by their length."""
    keys = {}
    after = None
    while pairs := kernel.scan(b"", after=after, limit=50):
        after = pairs[-1][0]
        for key, value in pairs:
            keys[key.decode()] = value.decode() if len(value) < 100 else len(value)
    return keys


def read(disk: Any) -> Sectors:
    """The tokens of a disk; each sector holds a single one."""
    sectors: Sectors = {}
    at = 0
    while at < disk.size:
        for start, length, mapped in disk.extents(at, disk.size - at):
            at = start + length
            data = disk.read(start, length) if mapped else b""
            for inside in range(0, len(data), SECTOR):
                sector = data[inside : inside + SECTOR]
                token = sector[:8]
                assert sector == token * (SECTOR // 8), f"a mixture at {start + inside}"
                if any(token):
                    sectors[(start + inside) // SECTOR] = int.from_bytes(token, "little")
    return sectors


def compare_frozen(id_: int, sectors: Sectors, frozen: Frozen) -> None:
    assert sectors == frozen.sectors, f"the frozen version {id_} has changed"


def compare_head(id_: int, sectors: Sectors, head: Head) -> None:
    allowed = head.allowed()
    for sector in sectors.keys() | allowed.keys():
        token, may_be = sectors.get(sector, 0), allowed.get(sector, {0})
        assert token in may_be, f"sector {sector} of head {id_} holds {token}, not one of {may_be}"


@pytest.mark.skipif(not REAL, reason="cowshed._kernel is not built")
def test_what_the_comparison_sees(tmp_path: Path) -> None:
    """It would see a lost write, a write to a frozen version, and half a transaction."""
    from cowshed._kernel import Kernel

    path = tmp_path / "store"
    Kernel.create(path)
    world = World(1)
    with Kernel.open(path, background=False) as kernel:
        with kernel.transaction() as transaction:
            head = transaction.create(1 << 20)
        kernel.disk(head).write(0, (7).to_bytes(8, "little") * 64)
        tell: list[dict[str, Any]] = [
            {"t": 0, "do": "transact", "ops": [["create", 1 << 20, head]], "keys": {}},
            {"t": 0, "ok": True},
            {"t": 0, "do": "write", "v": head, "s": 0, "n": 1, "k": 7},
            {"t": 0, "ok": True},
        ]
        for line in tell:
            world.line(line)
        compare_head(head, read(kernel.disk(head)), world.threads[0].heads[head])
        compare_head(head, {}, world.threads[0].heads[head])
        world.line({"t": 0, "do": "flush"})
        world.line({"t": 0, "ok": True})
        with pytest.raises(AssertionError, match="holds 0"):
            compare_head(head, {}, world.threads[0].heads[head])
        with pytest.raises(AssertionError, match="has changed"):
            compare_frozen(1, {0: 8}, Frozen(1 << 20, {0: 7}))
        world.line({"t": 0, "do": "transact", "ops": [["drop", head]], "keys": {"0/mark": "1"}})
        with pytest.raises(AssertionError, match="thread 0"):
            world.find(0, {"0/mark": "2"})
