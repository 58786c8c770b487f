"""The last step: thousands of snapshots, of which nine in ten are removed at random.

What is left is compared with twins: volumes that had the same writes, but of the snapshots only ever
made those that remain.
"""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock

from cowshed.demo.record import BLOCK, Record, digest
from cowshed.demo.stage import Stage, size_text
from cowshed.errors import Interrupted
from cowshed.store import Store, StoreUsage

HOT_BLOCKS = 256
"""Blocks of each volume that are written: a small busy part, as a database's would be."""
WRITES = 4
"""Blocks written between two snapshots."""
VOLUMES = 10
"""Volumes that the snapshots are spread over, with a thread for each: they share their commits."""
TOLERANCE = 0.02
"""How much of the metadata may depend on how large the numbers in it happen to be: ids and places on disk."""
LEAST_TOLERANCE = 1024
"""The same in bytes, for so few snapshots that chance has its say."""

Tick = Callable[[], None]


@dataclass
class Volume:
    """A volume and all that will happen to it: after the writes of each step it gets a snapshot."""

    number: int
    hot: int
    """Where its busy part starts, in bytes."""
    hot_blocks: int
    steps: list[list[int]] = field(default_factory=list)
    """The blocks of the busy part that each step writes."""
    kept: set[int] = field(default_factory=set)
    """The steps whose snapshots remain."""
    removal: list[int] = field(default_factory=list)
    """The other ones, in the order in which they go."""

    @property
    def churned(self) -> str:
        """The volume that gets all snapshots."""
        return f"churn/volume{self.number}"

    @property
    def twin(self) -> str:
        """The one that only ever gets those that remain."""
        return f"twins/volume{self.number}"

    def content(self, step: int, turn: int) -> bytes:
        """What the write of that turn in that step writes: unlike any other."""
        return struct.pack("<HIH", self.number + 1, step, turn) * (BLOCK // 8)


class Churn:
    """The step, on clones of one snapshot whose content is known."""

    def __init__(self, stage: Stage, store: Store, dice: random.Random, origin: str, truth: Record) -> None:
        self._stage = stage
        self._store = store
        self._dice = dice
        self._origin = origin
        self._truth = truth
        self._stop = Event()

    def run(self, snapshots: int) -> list[list[str]]:
        """Make, remove, compare; then remove all and compare again. Returns the table for the end."""
        keep = max(1, snapshots // 10)
        gone = snapshots - keep
        volumes = self._plan(snapshots, keep)
        with self._stage.step(f"{snapshots:,} snapshots, of which {gone:,} go again, picked at random"):
            self._store.create_pool("churn")
            self._store.create_pool("twins")
            start = self._measure()
            with self._many(f"{snapshots:,} snapshots with {WRITES} writes before each", snapshots) as tick:
                self._each(volumes, lambda v: self._make(v, v.churned, range(len(v.steps)), tick))
            full = self._measure()
            with self._many(f"{gone:,} of them removed", gone) as tick:
                self._each(volumes, lambda v: self._thin_out(v, tick))
            left = self._measure()
            self._compare_contents(volumes, lambda v: v.churned, f"all {keep:,} that remain")
            with self._many(f"twin volumes that only ever took the other {keep:,}", keep) as tick:
                self._each(volumes, lambda v: self._make(v, v.twin, v.kept, tick))
            both = self._measure()
            self._compare_contents(volumes, lambda v: v.twin, f"the {keep:,} of the twins")
            with self._many("all of it removed, volumes and twins", 2 * len(volumes)) as tick:
                self._each(volumes, lambda v: self._remove(v, tick))
            end = self._measure()
            return self._compare_space(snapshots, keep, start, full, left, both, end)

    def _plan(self, snapshots: int, keep: int) -> list[Volume]:
        """All that will happen, drawn beforehand, so that threads cannot change what the seed says."""
        dice = self._dice
        count = min(VOLUMES, snapshots)
        blocks = min(HOT_BLOCKS, self._truth.size // BLOCK)
        last = self._truth.size // BLOCK - blocks
        volumes = [Volume(i, dice.randint(0, last) * BLOCK, blocks) for i in range(count)]
        for i in range(snapshots):
            volumes[i % count].steps.append([dice.randrange(blocks) for _ in range(WRITES)])
        every = [(volume, step) for volume in volumes for step in range(len(volume.steps))]
        for volume, step in dice.sample(every, keep):
            volume.kept.add(step)
        for volume in volumes:
            volume.removal = [step for step in range(len(volume.steps)) if step not in volume.kept]
            dice.shuffle(volume.removal)
        return volumes

    def _make(self, volume: Volume, name: str, taken: Collection[int], tick: Tick) -> None:
        """Make a volume, let all its writes happen, and take the snapshots that are named."""
        self._store.clone(self._origin, name)
        with self._store.open(name) as disk:
            for step, blocks in enumerate(volume.steps):
                for turn, block in enumerate(blocks):
                    disk.write(volume.hot + block * BLOCK, volume.content(step, turn))
                if step in taken:
                    self._store.create_snapshot(f"{name}@{step}")
                    tick()

    def _thin_out(self, volume: Volume, tick: Tick) -> None:
        for step in volume.removal:
            self._store.remove_snapshot(f"{volume.churned}@{step}")
            tick()

    def _remove(self, volume: Volume, tick: Tick) -> None:
        for name in (volume.churned, volume.twin):
            self._store.purge_snapshots(name)
            self._store.remove(name)
            tick()

    def _measure(self) -> StoreUsage:
        """The space account when nothing waits to be freed any more."""
        self._store.reclaim()
        return self._store.store_usage()

    def _compare_contents(self, volumes: list[Volume], name_of: Callable[[Volume], str], what: str) -> None:
        """Compare the busy part of every snapshot that remains and of every volume, and all of one volume."""
        show = self._stage.progress("compared")
        wrong = []
        done, total = 0, sum(len(volume.kept) for volume in volumes)
        for volume in volumes:
            name = name_of(volume)
            truth = self._truth.copy()
            busy = bytearray(truth.read(volume.hot, volume.hot_blocks * BLOCK))
            for step, blocks in enumerate(volume.steps):
                for turn, block in enumerate(blocks):
                    content = volume.content(step, turn)
                    busy[block * BLOCK : (block + 1) * BLOCK] = content
                    truth.write(volume.hot // BLOCK + block, content)
                if step in volume.kept:
                    if self._busy_digest(volume, f"{name}@{step}") != hashlib.sha256(busy).digest():
                        wrong.append(f"{name}@{step}")
                    done += 1
                    show(done, total)
            if self._busy_digest(volume, name) != hashlib.sha256(busy).digest():
                wrong.append(name)
            if volume is volumes[0]:
                with self._store.open(name, read_only=True) as disk:
                    if digest(disk.read, truth.ranges()) != truth.digest():
                        wrong.append(name)
        text = f"{what}, and the volumes, hold what they should (sha256)"
        self._stage.check(text if not wrong else f"{text}; not {', '.join(wrong[:5])}", not wrong)

    def _busy_digest(self, volume: Volume, name: str) -> bytes:
        with self._store.open(name, read_only=True) as disk:
            return hashlib.sha256(disk.read(volume.hot, volume.hot_blocks * BLOCK)).digest()

    def _compare_space(
        self,
        snapshots: int,
        keep: int,
        start: StoreUsage,
        full: StoreUsage,
        left: StoreUsage,
        both: StoreUsage,
        end: StoreUsage,
    ) -> list[list[str]]:
        grown = left.metadata_bytes - start.metadata_bytes
        twins = both.metadata_bytes - left.metadata_bytes
        off = (grown - twins) / twins
        more = end.metadata_bytes - start.metadata_bytes
        self._stage.check(
            f"metadata after the removals is that of the twins ({off:+.1%})",
            abs(grown - twins) <= max(TOLERANCE * twins, LEAST_TOLERANCE),
        )
        self._stage.check(
            "data after the removals is that of the twins", left.used - start.used == both.used - left.used
        )
        self._stage.check(
            f"with all removed, metadata is what it was before ({more:+} B)",
            abs(more) <= LEAST_TOLERANCE,
        )
        self._stage.check("and so is the data, to the block", end.used == start.used)
        return [
            ["", "live metadata", "data"],
            ["before", size_text(start.metadata_bytes), size_text(start.used)],
            [f"with {snapshots:,} snapshots", size_text(full.metadata_bytes), size_text(full.used)],
            [
                f"{snapshots - keep:,} removed at random",
                size_text(left.metadata_bytes),
                size_text(left.used),
            ],
            ["   of which these volumes", size_text(grown), size_text(left.used - start.used)],
            ["   twins that only took the rest", size_text(twins), size_text(both.used - left.used)],
            ["all removed", size_text(end.metadata_bytes), size_text(end.used)],
        ]

    def _each(self, volumes: list[Volume], work: Callable[[Volume], None]) -> None:
        """Do the work on all volumes at once; an error or Ctrl-C stops all of them."""
        self._stop.clear()
        with ThreadPoolExecutor(len(volumes)) as pool:
            running = [pool.submit(work, volume) for volume in volumes]
            try:
                for each in running:
                    each.result()
            except BaseException:
                self._stop.set()
                raise

    @contextmanager
    def _many(self, what: str, count: int) -> Iterator[Tick]:
        """Time work of many pieces, from many threads; each calls what this gives when a piece is done."""
        show = self._stage.progress(what)
        lock = Lock()
        done = 0

        def tick() -> None:
            nonlocal done
            if self._stop.is_set():
                raise Interrupted("stopped")
            with lock:
                done += 1
                show(done, count)

        with self._stage.doing(what, count):
            yield tick
