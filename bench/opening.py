"""Opening a store, after a clean close and after its owner was killed while it committed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import cowshed
from bench import sizes
from bench.figures import Figure, at_most, count, milliseconds
from bench.lab import Lab
from bench.rounds import Laps, Way, interleave

TOPIC = "opening"
LIMIT = 10.0
"""Milliseconds, that is: not tens of them."""
_VICTIM = Path(__file__).with_name("victim.py")


def run(lab: Lab) -> list[Figure]:
    stores = {
        "empty": lab.empty_store(),
        f"{sizes.text(lab.sizes.mapped)} mapped": lab.mapped_store(),
        f"{lab.sizes.many:,} snapshots": lab.snapshots_store(lab.sizes.many),
    }
    lab.say("opening after a clean close")
    clean = interleave(lab.sizes.opening_rounds, *(_opening(name, path) for name, path in stores.items()))
    lab.say("opening after kill -9")
    killed = interleave(
        lab.sizes.kills, *(_after_kill(lab, name, path) for name, path in stores.items()), warm_up=0
    )
    wrong = sum(len(_check(path)) for path in stores.values())
    return [
        *(milliseconds(TOPIC, f"{name}, closed", clean.seconds(name), LIMIT) for name in stores),
        *(milliseconds(TOPIC, f"{name}, killed", killed.seconds(name), LIMIT) for name in stores),
        count(TOPIC, "faults that `check` finds after the kills", wrong, at_most(0)),
    ]


def _opening(name: str, path: Path) -> Way:
    def turn(laps: Laps) -> None:
        with laps.time(name):
            store = cowshed.open(path)
        store.close()

    return turn


def _after_kill(lab: Lab, name: str, path: Path) -> Way:
    dice = lab.dice(f"kills {name}")

    def turn(laps: Laps) -> None:
        _kill_one(path, 0.1 + dice.random() * 0.2)
        with laps.time(name):
            store = cowshed.open(path)
        store.close()

    return turn


def _kill_one(path: Path, after: float) -> None:
    """Let a process write and take snapshots, and kill it in the middle of that."""
    victim = subprocess.Popen([sys.executable, "-P", _VICTIM, path], stdout=subprocess.PIPE)
    assert victim.stdout is not None
    with victim.stdout:
        if not victim.stdout.readline():
            raise RuntimeError("the process to be killed did not start")
        time.sleep(after)
        victim.send_signal(signal.SIGKILL)
    if victim.wait() != -signal.SIGKILL:
        raise RuntimeError("the process to be killed ended before")


def _check(path: Path) -> list[str]:
    with cowshed.open(path) as store:
        return store.check()
