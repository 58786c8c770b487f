"""Snapshot, clone and flatten, each durable, against one 4 KiB write + fdatasync."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cowshed
from bench import sizes
from bench.figures import FLAT, Bar, Figure, at_most, ratio
from bench.lab import BLOCK, DISK, PIECE, DurableWrite, Lab
from bench.peers import Missing, reflink
from bench.rounds import Laps, Way, interleave, number
from cowshed._kernel import Kernel
from cowshed.store import Store

TOPIC = "control"
OPERATIONS = ("snapshot", "clone", "flatten")
LIMIT = 3.0
RUN = 20
PeerTexts = dict[str, dict[str, str]]
"""By the case, then by the peer."""


def run(lab: Lab) -> list[Figure]:
    empty = "empty image"
    mapped = f"{sizes.text(lab.sizes.mapped)} image, every block mapped"
    few, many = (f"{count:,} snapshots present" for count in (lab.sizes.few, lab.sizes.many))
    paths = {
        empty: lab.empty_store(),
        mapped: lab.mapped_store(),
        few: lab.snapshots_store(lab.sizes.few),
        many: lab.snapshots_store(lab.sizes.many),
    }
    with ExitStack() as stack:
        base = stack.enter_context(DurableWrite(lab, lab.path("base")))
        cases = [Case(name, stack.enter_context(cowshed.open(path)), base) for name, path in paths.items()]
        lab.say("snapshot, clone, flatten")
        laps = interleave(lab.sizes.control_rounds, *(case.round for case in cases))
        runs = interleave(lab.sizes.control_rounds // RUN + 3, cases[1].round_of_runs)
        pending = interleave(lab.sizes.control_rounds, cases[1].round_with_a_write(lab))
        kernel = interleave(lab.sizes.control_rounds, _kernel_rounds(lab, base, stack))

    peers = _peers(lab, {empty: 0, mapped: lab.sizes.mapped})
    figures = []
    for case in cases:
        for operation in OPERATIONS:
            name = f"{operation}, {case.name}"
            shown = peers.get(case.name, {}) if operation == "snapshot" else {}
            figures.append(_against_write(name, laps, name, f"write before {name}", at_most(LIMIT), shown))
    for operation in OPERATIONS:
        name = f"{operation}, {mapped}: {RUN} in a row, against {RUN} writes in a row"
        figures.append(_against_write(name, runs, operation, f"write before {operation}", at_most(LIMIT)))
    for large, small in ((mapped, empty), (many, few)):
        for operation in OPERATIONS:
            spread = laps.ratio(f"{operation}, {large}", f"{operation}, {small}")
            figures.append(ratio(TOPIC, f"{operation}: {large} / {small}", spread, at_most(FLAT)))
    figures.append(_against_write("snapshot with a 4 KiB write pending", pending, "snapshot", "write"))
    for operation in ("freeze", "derive"):
        figures.append(_against_write(f"{operation}, the kernel alone", kernel, operation, "write"))
    return figures


def _against_write(
    name: str, laps: Laps, lap: str, base: str, bar: Bar | None = None, peers: dict[str, str] | None = None
) -> Figure:
    """How many durable writes it costs, and the times of both."""
    note = f"{laps.seconds(lap).median * 1e3:.3g} ms against {laps.seconds(base).median * 1e3:.3g} ms"
    return ratio(TOPIC, name, laps.ratio(lap, base), bar, note=note, peers=peers)


@dataclass
class Case:
    """A store in some state, on which everything is done and undone again."""

    name: str
    store: Store
    base: DurableWrite
    turn: int = 0

    def _names(self) -> tuple[str, str]:
        """Of a snapshot and a clone that are not there yet."""
        self.turn += 1
        return f"{DISK}@timed{self.turn}", f"clone{self.turn}"

    def _steps(self, snapshot: str, clone: str) -> list[Callable[[], object]]:
        return [
            lambda: self.store.create_snapshot(snapshot),
            lambda: self.store.clone(snapshot, clone),
            lambda: self.store.flatten(clone),
        ]

    def _undo(self, snapshot: str, clone: str) -> None:
        self.store.remove(clone)
        self.store.remove_snapshot(snapshot)
        self.store.reclaim()

    def round(self, laps: Laps) -> None:
        """Each operation once, right after a durable write."""
        names = self._names()
        self.base()
        for operation, step in zip(OPERATIONS, self._steps(*names), strict=True):
            with laps.time(f"write before {operation}, {self.name}"):
                self.base()
            with laps.time(f"{operation}, {self.name}"):
                step()
        self._undo(*names)

    def round_of_runs(self, laps: Laps) -> None:
        """Many of a kind in a row, so that neither is the other's warm-up or hindrance."""
        names = [self._names() for _ in range(RUN)]
        steps = zip(*(self._steps(*pair) for pair in names), strict=True)
        for operation, run in zip(OPERATIONS, steps, strict=True):
            with laps.time(f"write before {operation}"):
                for _ in range(RUN):
                    self.base()
            with laps.time(operation):
                for step in run:
                    step()
        for pair in names:
            self._undo(*pair)

    def round_with_a_write(self, lab: Lab) -> Way:
        """A snapshot that has data of the image to make durable too."""
        dice = lab.dice("pending")

        def turn(laps: Laps) -> None:
            snapshot, _ = self._names()
            with self.store.open(DISK) as image:
                image.flush()
                self.base()
                with laps.time("write"):
                    self.base()
                image.write(dice.randrange(image.size // BLOCK) * BLOCK, lab.block(self.turn))
                with laps.time("snapshot"):
                    self.store.create_snapshot(snapshot)
            self.store.remove_snapshot(snapshot)
            self.store.reclaim()

        return turn


def _kernel_rounds(lab: Lab, base: DurableWrite, stack: ExitStack) -> Way:
    path = lab.path("store-kernel")
    Kernel.create(path)
    kernel = stack.enter_context(Kernel.open(path))
    with kernel.transaction() as change:
        head = change.create(64 * sizes.MIB)
    disk = kernel.disk(head)
    for at in range(0, disk.size, PIECE):
        disk.write(at, lab.payload)
    kernel.flush()

    def turn(laps: Laps) -> None:
        base()
        with laps.time("write"):
            base()
        with laps.time("freeze"), kernel.transaction() as change:
            frozen = change.freeze(head)
        with laps.time("derive"), kernel.transaction() as change:
            derived = change.derive(frozen)
        with kernel.transaction() as change:
            change.drop(derived)
            change.drop(frozen)
        while kernel.reclaim():
            pass

    return turn


# --- peers


def _peers(lab: Lab, cases: dict[str, int]) -> PeerTexts:
    """What a snapshot costs elsewhere; each case by how much of the disk has data."""
    texts: PeerTexts = {name: {} for name in cases}
    ways: list[tuple[str, Callable[[Lab, dict[str, int]], dict[str, str]]]] = [
        ("qcow2 internal snapshot", _qcow2),
        ("XFS reflink", lambda lab, cases: _reflink(lab, cases, "xfs")),
        ("btrfs reflink", lambda lab, cases: _reflink(lab, cases, "btrfs")),
    ]
    for peer, measure in ways:
        lab.say(f"the same with {peer}")
        try:
            found = measure(lab, cases)
        except Missing as missing:
            found = dict.fromkeys(cases, str(missing))
        for name, text in found.items():
            texts[name][peer] = text
    return texts


def _text(laps: Laps, name: str, *, less: str | None = None) -> str:
    tare = laps.seconds(less).median if less else 0.0
    took = laps.seconds(name).median - tare
    ratio = took / laps.seconds("write").median
    return f"{number(ratio)} ({took * 1e3:.3g} ms)"


def _qcow2(lab: Lab, cases: dict[str, int]) -> dict[str, str]:
    """`qemu-img snapshot -c`. All clusters are mapped, as metadata: a snapshot looks at no data."""
    images: dict[str, Path] = {}
    for name, mapped in cases.items():
        images[name] = lab.path(f"snapshots{mapped}.qcow2")
        allocation = "metadata" if mapped else "off"
        options = ["-f", "qcow2", "-o", f"preallocation={allocation}"]
        lab.peers.qemu_img("create", "-q", *options, images[name], str(lab.sizes.mapped))
    with DurableWrite(lab, lab.path("base")) as base:

        def turn(laps: Laps) -> None:
            base()
            with laps.time("write"):
                base()
            with laps.time("start"):
                lab.peers.qemu_img("snapshot", "-l", next(iter(images.values())))
            for name, path in images.items():
                with laps.time(name):
                    lab.peers.qemu_img("snapshot", "-c", "s", path)
                lab.peers.qemu_img("snapshot", "-d", "s", path)

        laps = interleave(lab.sizes.slow_rounds, turn)
    for path in images.values():
        path.unlink()
    return {name: _text(laps, name, less="start") for name in images}


def _reflink(lab: Lab, cases: dict[str, int], kind: str) -> dict[str, str]:
    """FICLONE into a new file, fsync of it and of the directory, against a durable write on the same."""
    size = max(lab.sizes.mapped + sizes.GIB, 2 * sizes.GIB)
    with lab.peers.mounted(kind, lab.path(f"{kind}.img"), size) as place:
        images: dict[str, Path] = {}
        for name, mapped in cases.items():
            images[name] = place / f"{mapped}.raw"
            lab.fill_file(images[name], mapped)
            with images[name].open("r+b") as file:
                file.truncate(lab.sizes.mapped)
        with DurableWrite(lab, place / "base") as base:

            def turn(laps: Laps) -> None:
                base()
                with laps.time("write"):
                    base()
                for name, path in images.items():
                    with laps.time(name):
                        reflink(path, place / "copy")
                    (place / "copy").unlink()

            laps = interleave(lab.sizes.control_rounds, turn)
    return {name: _text(laps, name) for name in images}
