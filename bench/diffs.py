"""What changed between two snapshots of a very large image."""

from __future__ import annotations

import time
from pathlib import Path

import cowshed
from bench import sizes
from bench.figures import Figure, at_most, count, milliseconds
from bench.lab import BLOCK, DISK, Lab
from bench.rounds import Laps, Spread, interleave
from cowshed.store import Extent

TOPIC = "diffs"
LIMIT = 10.0


def run(lab: Lab) -> list[Figure]:
    lab.say(f"differences on {sizes.text(lab.sizes.huge)}")
    path = lab.path("store-diffs")
    changed = _make(lab, path)
    seen: list[list[Extent]] = []

    def warm(laps: Laps) -> None:
        with laps.time("diff"):
            extents = list(image.diff("a"))
        seen.append(extents)

    with cowshed.open(path) as store, store.open(f"{DISK}@b") as image:
        laps = interleave(lab.sizes.diff_rounds, warm)
    cold = [_cold(path, seen) for _ in range(lab.sizes.opening_rounds)]
    wrong = sum(_blocks(extents) != changed for extents in seen)
    name = f"{lab.sizes.changed:,} blocks changed in {sizes.text(lab.sizes.huge)}"
    others = f"{lab.sizes.unchanged:,} mapped blocks did not change"
    return [
        milliseconds(TOPIC, f"{name}, warm", laps.seconds("diff"), LIMIT, note=others),
        milliseconds(TOPIC, f"{name}, first after opening the store", Spread.of(cold)),
        count(TOPIC, "diffs that were not exact", wrong, at_most(0), note=f"of {len(seen)}"),
    ]


def _make(lab: Lab, path: Path) -> set[int]:
    """Two snapshots; returns the blocks that differ, those of one kind being no more mapped."""
    dice = lab.dice("diffs")
    with cowshed.open(path, create=True) as store:
        store.create(DISK, lab.sizes.huge)
        with store.open(DISK) as image:
            old = lab.blocks(dice, lab.sizes.huge, lab.sizes.unchanged)
            for i, at in enumerate(old):
                image.write(at, lab.block(i))
            store.create_snapshot(f"{DISK}@a")
            changed = set(lab.blocks(dice, lab.sizes.huge, lab.sizes.changed))
            # A tenth of them were there before.
            again = dice.sample(old, lab.sizes.changed // 10)
            changed = {*again, *list(changed - set(old))[: lab.sizes.changed - len(again)]}
            for i, at in enumerate(sorted(changed, key=lambda _: dice.random())):
                image.write(at, lab.block(lab.sizes.unchanged + i))
            store.create_snapshot(f"{DISK}@b")
            # What happens later must not show.
            for i, at in enumerate(lab.blocks(dice, lab.sizes.huge, 100)):
                image.write(at, lab.block(i))
    return changed


def _cold(path: Path, seen: list[list[Extent]]) -> float:
    """The cache of pages is empty; the file system's is not."""
    with cowshed.open(path) as store, store.open(f"{DISK}@b") as image:
        start = time.perf_counter()
        extents = list(image.diff("a"))
        took = time.perf_counter() - start
    seen.append(extents)
    return took


def _blocks(extents: list[Extent]) -> set[int]:
    return {at for extent in extents for at in range(extent.offset, extent.end, BLOCK) if extent.exists}
