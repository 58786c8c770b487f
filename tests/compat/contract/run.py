"""Run the expectations on one pair of modules: `python -m contract.run --conf FILE [--out FILE] [NAME…]`.

Writes a JSON object: `surface`, what names the modules have, and `answers`, for each expectation nothing
where the modules do as it says, or what they did instead. Exit status 0 unless it could not begin.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import sys
import traceback
from pathlib import Path

from .expecting import EXPECTATIONS, Expectation
from .surface import surface_of
from .world import World

ROOMS = (
    "rados_cluster",
    "rados_objects",
    "rados_operations",
    "rados_async",
    "rados_pools",
    "rbd_pool",
    "rbd_images",
    "rbd_data",
    "rbd_snapshots",
    "rbd_clones",
    "rbd_trash",
    "rbd_locks",
    "rbd_settings",
    "rbd_groups",
    "rbd_completions",
    "rbd_off",
)


def enlist_all() -> None:
    """Import the rooms of expectations, which puts these on the list."""
    for room in ROOMS:
        importlib.import_module(f"{__package__}.{room}")


def answer(expectation: Expectation, world: World) -> str:
    """Nothing where the modules do as expected; else what happened, with its place."""
    try:
        world.next()
        expectation.run(world)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.name == expectation.name]
        return f"{type(error).__name__}: {error} (line {lines[-1] if lines else '?'})"
    finally:
        world.forget()
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--modules", help="the directory of rbd and rados, where they are not on the path")
    parser.add_argument("--conf", required=True, help="ceph.conf of a cluster, or of a store")
    parser.add_argument("--out", type=Path, help="write there instead of to standard output")
    parser.add_argument("names", nargs="*", help="only expectations whose name contains one of these words")
    given = parser.parse_args()
    faulthandler.enable()
    enlist_all()
    if given.modules:
        sys.path.insert(0, given.modules)
    rados, rbd = importlib.import_module("rados"), importlib.import_module("rbd")
    world = World(rbd, rados, given.conf)
    answers = {}
    try:
        for name, expectation in EXPECTATIONS.items():
            if not given.names or any(word in name for word in given.names):
                answers[name] = answer(expectation, world)
                if answers[name]:
                    print(f"{name}: {answers[name]}", file=sys.stderr)
    finally:
        world.end()
    text = json.dumps({"surface": surface_of(rbd, rados), "answers": answers}, indent=1, sort_keys=True)
    if given.out:
        given.out.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
