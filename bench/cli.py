"""The command line's answers, started as `python -m cowshed` each time."""

from __future__ import annotations

import subprocess
import sys

import cowshed
from bench import sizes
from bench.figures import Figure, milliseconds
from bench.lab import DISK, Lab
from bench.rounds import Laps, Way, interleave

TOPIC = "cli"
AT_ONCE, SOON = 100.0, 200.0


def run(lab: Lab) -> list[Figure]:
    lab.say("commands")
    path = lab.path("store-cli")
    with cowshed.open(path, create=True) as store:
        for i in range(10):
            store.create(f"{DISK}{i}", sizes.GIB)
    names = iter(range(1 << 30))
    commands: dict[str, float] = {
        "--version": AT_ONCE,
        "ls": SOON,
        f"info {DISK}0": SOON,
        "snap create": SOON,
    }

    def arguments(name: str) -> list[str]:
        if name == "--version":
            return [name]
        words = name.split()
        if name == "snap create":
            words.append(f"{DISK}0@timed{next(names)}")
        return ["--store", str(path), *words]

    def way(name: str) -> Way:
        def turn(laps: Laps) -> None:
            command = [sys.executable, "-m", "cowshed", *arguments(name)]
            with laps.time(name):
                subprocess.run(command, check=True, capture_output=True)

        return turn

    def bare(laps: Laps) -> None:
        with laps.time("python"):
            subprocess.run([sys.executable, "-c", "pass"], check=True)

    laps = interleave(lab.sizes.calls, bare, *(way(name) for name in commands))
    return [
        *(
            milliseconds(TOPIC, f"cowshed {name}", laps.seconds(name), limit)
            for name, limit in commands.items()
        ),
        milliseconds(TOPIC, "python -c pass", laps.seconds("python")),
    ]
