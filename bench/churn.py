"""Ten thousand snapshots, nine in ten removed at random: what is left behind is nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cowshed
from bench import sizes
from bench.figures import Figure, at_least, at_most, count, ratio
from bench.io import warm
from bench.lab import BLOCK, DISK, Lab, read_afresh
from bench.rounds import Laps, Spread, Way, interleave
from cowshed._kernel import Kernel, SpaceInfo
from cowshed.store import Image, Store, StoreUsage

TOPIC = "churn"
SAME, AS_FAST = 1.02, 0.9
BUSY = 64 * BLOCK
Steps = list[list[int]]


@dataclass
class State:
    """The space account when nothing waits to be freed."""

    usage: StoreUsage
    pages: int


def run(lab: Lab) -> list[Figure]:
    """Three stores get the same writes: one all snapshots, one only those that remain, one none."""
    size, total = lab.sizes.disk, lab.sizes.snapshots
    dice = lab.dice("churn")
    # Half of the writes go all over the disk, half to a few busy blocks: what frees space when snapshots go.
    half = lab.sizes.step_writes // 2
    steps = [[*lab.blocks(dice, size, half), *lab.blocks(dice, BUSY, half)] for _ in range(total)]
    keep = set(dice.sample(range(total), total // 10))
    gone = [step for step in range(total) if step not in keep]
    dice.shuffle(gone)

    churned, twin, plain = (lab.path(f"store-{name}") for name in ("churned", "twin", "plain"))
    begin = _make(lab, churned, steps, range(total), f"{total:,} snapshots, seed {lab.seed}")
    full = _measure(churned)
    lab.say(f"removing {len(gone):,} of them")
    with cowshed.open(churned) as store:
        for step in gone:
            store.remove_snapshot(_name(step))
    left = _measure(churned)
    _make(lab, twin, steps, keep, f"the other {len(keep):,} in a store of their own")
    other = _measure(twin)
    _make(lab, plain, steps, (), "the same writes with no snapshot")

    figures = [*_space(total, len(keep), full, left, other), *_speed(lab, churned, twin, plain)]
    lab.say("removing the rest")
    wrong = _check(churned)
    with cowshed.open(churned) as store:
        store.purge_snapshots(DISK)
        store.remove(DISK)
    end = _measure(churned)
    more = end.usage.metadata_bytes - begin.usage.metadata_bytes
    note = (
        f"{more:+} B of {begin.usage.metadata_bytes} B; {end.pages} pages, {end.usage.used // BLOCK} blocks;"
        f" blocks file {sizes.text(end.usage.blocks_file_bytes)}"
        f", it was {sizes.text(begin.usage.blocks_file_bytes)}"
    )
    figures.append(
        count(
            TOPIC,
            "all removed: live metadata ÷ that of the new store",
            end.usage.metadata_bytes / begin.usage.metadata_bytes,
            at_most(SAME),
            note=note,
        )
    )
    figures.append(
        count(
            TOPIC,
            "all removed: catalogue file, KiB",
            end.usage.catalog_bytes / 1024,
            note=f"{begin.usage.catalog_bytes / 1024:.0f} KiB when it was new",
        )
    )
    left_over = end.pages + end.usage.used // BLOCK
    figures.append(count(TOPIC, "all removed: pages and blocks still used", left_over, at_most(0)))
    figures.append(count(TOPIC, "faults that `check` finds in the churned store", len(wrong), at_most(0)))
    return figures


def _name(step: int) -> str:
    return f"{DISK}@step{step}"


def _make(lab: Lab, path: Path, steps: Steps, taken: Collection[int], what: str) -> State:
    """All writes of all steps, and a snapshot after those that are named. Returns the state before."""
    lab.say(what)
    cowshed.init(path)
    begin = _measure(path)
    with cowshed.open(path) as store:
        store.create(DISK, lab.sizes.disk)
        lab.fill(store, DISK)
        with store.open(DISK) as image:
            for step, offsets in enumerate(steps):
                for i, at in enumerate(offsets):
                    image.write(at, lab.block(step * len(offsets) + i))
                if step in taken:
                    store.create_snapshot(_name(step))
    return begin


def _measure(path: Path) -> State:
    with cowshed.open(path, background=False) as store:
        store.reclaim()
        usage = store.store_usage()
    with Kernel.open(path, background=False) as kernel:
        space: SpaceInfo = kernel.space()
    return State(usage, space.pages)


def _check(path: Path) -> list[str]:
    with cowshed.open(path, background=False) as store:
        return store.check()


def _space(total: int, keep: int, full: State, left: State, other: State) -> list[Figure]:
    mine, twin = left.usage, other.usage
    blocks = mine.used // BLOCK
    return [
        count(
            TOPIC,
            f"{total:,} snapshots, {total - keep:,} removed: live metadata ÷ that of the twin",
            mine.metadata_bytes / twin.metadata_bytes,
            at_most(SAME),
            note=f"{mine.metadata_bytes:,} B against {twin.metadata_bytes:,} B,"
            f" {full.usage.metadata_bytes:,} B before the removal",
        ),
        count(
            TOPIC,
            "tree pages ÷ those of the twin",
            left.pages / other.pages,
            at_most(1),
            note=f"{left.pages:,} against {other.pages:,}, {full.pages:,} before the removal",
        ),
        count(
            TOPIC,
            "used blocks ÷ those of the twin",
            mine.used / twin.used,
            at_most(1),
            note=f"{blocks:,} against {twin.used // BLOCK:,}",
        ),
        count(
            TOPIC,
            "space returned: blocks file on disk ÷ blocks in use",
            mine.blocks_file_bytes / mine.used,
            at_most(SAME),
            note=f"{mine.blocks_file_bytes:,} B, {full.usage.blocks_file_bytes:,} B before the removal",
        ),
        count(
            TOPIC,
            "catalogue file ÷ that of the twin",
            mine.catalog_bytes / twin.catalog_bytes,
            note=f"{mine.catalog_bytes:,} B against {twin.catalog_bytes:,} B,"
            f" {full.usage.catalog_bytes:,} B before the removal",
        ),
    ]


def _speed(lab: Lab, churned: Path, twin: Path, plain: Path) -> list[Figure]:
    """Reads and overwrites on all three, in turns; first writes are the matter of io.py."""
    lab.say("reads and writes after the removals")
    reads, writes = lab.sizes.reads, min(lab.sizes.writes, lab.sizes.disk // BLOCK // 2)
    offsets = lab.blocks(lab.dice("churn writes"), lab.sizes.disk, writes)
    paths = {"churned": churned, "twin": twin, "plain": plain}
    for path in paths.values():
        read_afresh(path / "blocks")
    with ExitStack() as stack:
        stores: dict[str, Store] = {
            name: stack.enter_context(cowshed.open(path)) for name, path in paths.items()
        }
        images: dict[str, Image] = {
            name: stack.enter_context(store.open(DISK)) for name, store in stores.items()
        }
        for image in images.values():
            warm(image.read, image.size)
        readers = [_reading(lab, name, image, reads) for name, image in images.items()]
        read = interleave(lab.sizes.read_rounds, *readers)
        # The first, uncounted round makes all these blocks the head's own, in each of the stores.
        writers = [_writing(lab, name, image, offsets) for name, image in images.items()]
        written = interleave(lab.sizes.write_rounds, *writers)
    figures = []
    for name, laps in (("random reads", read), ("random overwrites with a flush", written)):
        for against, text in (("plain", "a store with no snapshot"), ("twin", "the twin")):
            spread: Spread = laps.ratio(against, "churned")
            figures.append(ratio(TOPIC, f"{name} ÷ those of {text}", spread, at_least(AS_FAST)))
    return figures


def _reading(lab: Lab, name: str, image: Image, number: int) -> Way:
    dice: random.Random = lab.dice("churn reads")
    read: Callable[[int, int], bytes] = image.read

    def turn(laps: Laps) -> None:
        offsets = [dice.randrange(image.size // BLOCK) * BLOCK for _ in range(number)]
        with laps.time(name):
            for at in offsets:
                read(at, BLOCK)

    return turn


def _writing(lab: Lab, name: str, image: Image, offsets: list[int]) -> Way:
    dice: random.Random = lab.dice("churn order")

    def turn(laps: Laps) -> None:
        order = dice.sample(offsets, len(offsets))
        writes = [(at, lab.block(i)) for i, at in enumerate(order)]
        image.flush()
        with laps.time(name):
            for at, data in writes:
                image.write(at, data)
            image.flush()

    return turn
