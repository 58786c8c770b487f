"""4 KiB reads and writes in one thread of this process."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import cowshed
from bench.figures import Figure, at_least, ratio
from bench.lab import BLOCK, PIECE, Lab, read_afresh
from bench.peers import Missing
from bench.rounds import Laps, Spread, Way, interleave, number
from cowshed.store import Image, Store

TOPIC = "io"
WRITES, READS, DEEP = 0.7, 0.7, 0.95
Read = Callable[[int, int], bytes]


def run(lab: Lab) -> list[Figure]:
    with cowshed.open(lab.path("store-io"), create=True) as store:
        return [*_writes(lab, store), *_reads(lab, store), *_depth(lab, store)]


def rate(laps: Laps, count: int, name: str) -> str:
    """Operations in a second, for a note."""
    return f"{number(count / laps.seconds(name).median)}/s"


# --- writes


def _writes(lab: Lab, store: Store) -> list[Figure]:
    """Two images, both full: one owns all its blocks, the other has a new snapshot each round."""
    lab.say("random writes")
    count = lab.sizes.writes
    dice = lab.dice("writes")
    for name in ("owned", "frozen"):
        store.create(name, lab.sizes.disk)
        lab.fill(store, name)
    with store.open("owned") as owned, store.open("frozen") as frozen:
        ways = [
            _writing(lab, dice, "overwrite", owned, lambda: None),
            _writing(lab, dice, "first", frozen, _snapshots(store, "frozen")),
        ]
        laps = interleave(lab.sizes.write_rounds, *ways)
    synced = f"{rate(laps, count, 'first synced')} against {rate(laps, count, 'overwrite synced')}"
    plain = f"{rate(laps, count, 'first')} against {rate(laps, count, 'overwrite')}"
    return [
        ratio(
            TOPIC,
            "first write after a snapshot ÷ overwrite, rates with the final flush",
            laps.ratio("overwrite synced", "first synced"),
            at_least(WRITES),
            note=synced,
            peers={"qcow2 (qemu-io)": _or_missing(lambda: _qcow2_writes(lab))},
        ),
        ratio(
            TOPIC,
            "first write after a snapshot ÷ overwrite, rates without the flush",
            laps.ratio("overwrite", "first"),
            at_least(WRITES),
            note=plain,
        ),
    ]


def _snapshots(store: Store, image: str) -> Callable[[], None]:
    """Each call makes another."""
    names = iter(range(1 << 30))

    def make() -> None:
        store.create_snapshot(f"{image}@round{next(names)}")

    return make


def _writing(lab: Lab, dice: random.Random, name: str, image: Image, before: Callable[[], None]) -> Way:
    def turn(laps: Laps) -> None:
        offsets = lab.blocks(dice, image.size, min(lab.sizes.writes, image.size // BLOCK))
        writes = [(at, lab.block(i)) for i, at in enumerate(offsets)]
        before()
        image.flush()
        with laps.time(f"{name} synced"):
            with laps.time(name):
                for at, data in writes:
                    image.write(at, data)
            image.flush()

    return turn


def _qcow2_writes(lab: Lab) -> str:
    """The same by one qemu-io for each round; the time that it takes to start is taken off."""
    count = lab.sizes.peer_writes
    path = lab.path("writes.qcow2")
    dice = lab.dice("qcow2 writes")
    raw = lab.path("writes.raw")
    lab.fill_file(raw, lab.sizes.disk)
    lab.peers.qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, path)
    raw.unlink()

    def commands() -> list[str]:
        offsets = lab.blocks(dice, lab.sizes.disk, count)
        return [*(f"write -q -P {1 + at % 251} {at} 4k" for at in offsets), "flush"]

    def turn(laps: Laps) -> None:
        laps.add("start", lab.peers.qemu_io(path, ["flush"]))
        laps.add("overwrite", lab.peers.qemu_io(path, commands()))
        lab.peers.qemu_img("snapshot", "-c", "s", path)
        laps.add("first", lab.peers.qemu_io(path, commands()))
        # The disk is to be one without a snapshot again, all its clusters its own.
        lab.peers.qemu_img("snapshot", "-d", "s", path)

    laps = interleave(lab.sizes.slow_rounds, turn)
    path.unlink()
    times = f"{laps.seconds('overwrite').median:.2g} s and {laps.seconds('first').median:.2g} s"
    return f"{_inverse(laps.ratio('first', 'overwrite', less='start'))} ({times} for {count:,})"


def _inverse(spread: Spread) -> str:
    return Spread(1 / spread.median, 1 / spread.high, 1 / spread.low, spread.count).ratio_text()


# --- reads


def _reads(lab: Lab, store: Store) -> list[Figure]:
    """Against `pread` of plain files of the same content, all warm in the page cache."""
    lab.say("random reads")
    count = lab.sizes.reads
    store.create("in-order", lab.sizes.disk)
    lab.fill(store, "in-order")
    figures = []
    # "frozen" was written in order too, and then all over the place by the writes before.
    for name, text in (("in-order", "an image written in order"), ("frozen", "one rewritten at random")):
        with ExitStack() as stack:
            image = stack.enter_context(store.open(name, read_only=True))
            raw = lab.path("reads.raw")
            _copy(image, raw)
            descriptor = os.open(raw, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            dice = lab.dice("reads")
            for path in (raw, Path(store.target) / "blocks"):
                read_afresh(path)
            warm(image.read, image.size)

            def plain(offset: int, length: int, descriptor: int = descriptor) -> bytes:
                return os.pread(descriptor, length, offset)

            assert all(plain(at, BLOCK) == image.read(at, BLOCK) for at in lab.blocks(dice, image.size, 500))
            laps = interleave(
                lab.sizes.read_rounds,
                _reading(lab, dice, "raw", plain, image.size, count),
                _reading(lab, dice, "image", image.read, image.size, count),
            )
        raw.unlink()
        figures.append(
            ratio(
                TOPIC,
                f"random reads ÷ pread of a raw file, {text}",
                laps.ratio("raw", "image"),
                at_least(READS),
                note=f"{rate(laps, count, 'image')} against {rate(laps, count, 'raw')}",
            )
        )
    return figures


def _copy(image: Image, path: Path) -> None:
    with path.open("wb") as file:
        for at in range(0, image.size, PIECE):
            file.write(image.read(at, min(PIECE, image.size - at)))


def warm(read: Read, size: int) -> None:
    """Read all of it once."""
    for at in range(0, size, PIECE):
        read(at, min(PIECE, size - at))


def _reading(lab: Lab, dice: random.Random, name: str, read: Read, size: int, count: int) -> Way:
    def turn(laps: Laps) -> None:
        offsets = [dice.randrange(size // BLOCK) * BLOCK for _ in range(count)]
        with laps.time(name):
            for at in offsets:
                read(at, BLOCK)

    return turn


# --- depth


def _depth(lab: Lab, store: Store) -> list[Figure]:
    """A clone of a clone of a clone …, against an image that had the same writes and no clone between."""
    lab.say(f"clones {lab.sizes.depth} levels deep")
    size, count = lab.sizes.disk // 4, lab.sizes.reads
    dice = lab.dice("depth")
    for name in ("level0", "depth0", "line"):
        store.create(name, size)
        lab.fill(store, name)
    with store.open("depth0") as flat, store.open("line") as line:
        for level in range(1, lab.sizes.depth + 1):
            store.create_snapshot(f"level{level - 1}@s")
            store.create_snapshot(f"line@{level}")
            store.clone(f"level{level - 1}@s", f"level{level}")
            with store.open(f"level{level}") as image:
                for i, at in enumerate(lab.blocks(dice, size, lab.sizes.depth_writes)):
                    for each in (image, flat, line):
                        each.write(at, lab.block(level * lab.sizes.depth_writes + i))
    with (
        store.open("depth0", read_only=True) as flat,
        store.open(f"level{lab.sizes.depth}", read_only=True) as deep,
        store.open("line", read_only=True) as line,
        store.open("level0", read_only=True) as untouched,
    ):
        images = {"flat": flat, "deep": deep, "line": line, "untouched": untouched}
        for at in range(0, size, PIECE):
            content = flat.read(at, PIECE)
            assert content == deep.read(at, PIECE) == line.read(at, PIECE), "a clone reads wrongly"
        read_afresh(Path(store.target) / "blocks")
        for image in images.values():
            warm(image.read, size)
        ways = [_reading(lab, dice, name, image.read, size, count) for name, image in images.items()]
        laps = interleave(lab.sizes.depth_rounds, *ways)
    note = f"{rate(laps, count, 'deep')} against {rate(laps, count, 'flat')}"
    return [
        ratio(
            TOPIC,
            f"random reads, {lab.sizes.depth} clone levels deep ÷ depth 0",
            laps.ratio("flat", "deep"),
            at_least(DEEP),
            note=note,
            peers={f"qcow2, {lab.sizes.peer_depth} levels": _or_missing(lambda: _qcow2_depth(lab))},
        ),
        ratio(
            TOPIC,
            f"the same ÷ depth 0 with {lab.sizes.depth} snapshots, so with blocks lying as they do there",
            laps.ratio("line", "deep"),
        ),
        ratio(
            TOPIC,
            "the same ÷ depth 0 as written in order, no write since",
            laps.ratio("untouched", "deep"),
        ),
    ]


def _qcow2_depth(lab: Lab) -> str:
    """A chain of backing files by qemu-io; the time to open each is taken off."""
    size, count = lab.sizes.disk // 4, lab.sizes.peer_writes
    dice = lab.dice("qcow2 depth")
    raw, base = lab.path("depth.raw"), lab.path("depth0.qcow2")
    lab.fill_file(raw, size)
    lab.peers.qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, base)
    raw.unlink()
    chain = [base]
    for level in range(1, lab.sizes.peer_depth + 1):
        path = lab.path(f"depth{level}.qcow2")
        lab.peers.qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", chain[-1], path)
        offsets = lab.blocks(dice, size, 16)
        lab.peers.qemu_io(path, [f"write -q -P {1 + at % 251} {at} 4k" for at in offsets])
        chain.append(path)

    def way(name: str, path: Path) -> Way:
        def turn(laps: Laps) -> None:
            opened = lab.peers.qemu_io(path, [])
            took = lab.peers.qemu_io(path, [f"read -q {at} 4k" for at in lab.blocks(dice, size, count)])
            laps.add(name, max(took - opened, 1e-9))

        return turn

    laps = interleave(lab.sizes.slow_rounds, way("flat", chain[0]), way("deep", chain[-1]))
    for path in chain:
        path.unlink()
    return laps.ratio("flat", "deep").ratio_text()


def _or_missing(measure: Callable[[], str]) -> str:
    try:
        return measure()
    except Missing as missing:
        return str(missing)
