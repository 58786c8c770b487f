"""`kill -9` amid changes of objects: each list of steps was done as a whole, or not at all.

Set COWSHED_SEED to repeat a run as far as the scheduler lets it be repeated, COWSHED_ROUNDS to prolong it.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import cowshed
from behaviour.object_model import Model, Place, Programme
from cowshed.store import Store
from model.kernel_module import REAL

ROUNDS = int(os.environ.get("COWSHED_ROUNDS", "12"))
CHILD = Path(__file__).with_name("objects_child.py")

pytestmark = pytest.mark.skipif(not REAL, reason="cowshed._kernel is not built")


def test_killed_amid_changes(tmp_path: Path) -> None:
    seed = os.environ.get("COWSHED_SEED") or str(random.randrange(1 << 32))
    print(f"COWSHED_SEED={seed}")
    path, rng, done = tmp_path / "store", random.Random(seed), 0
    with cowshed.open(path, create=True) as store:
        for round_ in range(ROUNDS):
            store.create_pool(f"p{round_}")
    for round_ in range(ROUNDS):
        pool, drawn = f"p{round_}", f"{seed} {round_}"
        told = run_and_kill(path, pool, drawn, after=rng.choice([1, 5, 20, 60]))
        done += told
        programme = Programme(pool, drawn)
        while programme.done < told:
            programme.do(programme.next()[1])
        with cowshed.open(path) as store:
            found = everything(store, pool)
            if found != programme.objects.all:
                programme.do(programme.next()[1])
            assert found == programme.objects.all, (round_, told)
            assert store.check() == []
    assert done >= ROUNDS


def run_and_kill(path: Path, pool: str, seed: str, *, after: int) -> int:
    """How many changes it said it had done, once it had done some and was killed."""
    command = [sys.executable, str(CHILD), str(path), pool, seed]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout
        line = b"-1"
        while int(line) < after:
            line = child.stdout.readline()
            assert line, "the child ended by itself"
        child.kill()
        last = child.stdout.read().split(b"\n")[:-1]
    return int(last[-1]) if last else int(line)


def everything(store: Store, pool: str) -> dict[Place, Model]:
    """All objects of a pool."""
    return {
        (pool, "", name): Model(
            store.read_object(pool, name),
            store.object_attributes(pool, name),
            store.object_omap(pool, name).values,
            store.object_omap_header(pool, name),
        )
        for name in store.objects(pool)
    }
