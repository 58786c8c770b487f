"""Disks over NBD, through the daemon, beside nbdkit and qemu-nbd; fio and nbdcopy are the clients."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cowshed
from bench import sizes
from bench.figures import Figure, at_least, at_most, count, milliseconds, ratio
from bench.lab import BLOCK, Lab
from bench.peers import Missing
from bench.rounds import Laps, Spread, Way, interleave, number
from bench.served import Served, cowshed_daemon, nbdkit_memory, qemu_nbd
from cowshed.store import Store

TOPIC = "nbd"
CACHED, OVER_QCOW2 = 0.95, 1.2
OVERWRITES, FIRST_WRITES = 0.9, 10.0
FLUSHED = 1.3
SEQUENTIAL = 0.9
SPARSE = 1.5
MEMORY_MIB = 200.0
SNAPSHOTS = 0.95
HELD_BACK_MS = 1.0

IMAGE = "disk"
Fio = Callable[[Served], float]


def run(lab: Lab) -> list[Figure]:
    figures: list[Figure] = []
    for part in (_reads, _writes, _first_writes, _sequential, _sparse, _snapshots, _held_back, _memory):
        try:
            figures += part(lab)
        except Missing as missing:
            lab.say(f"left out: {missing}")
    return figures


@contextmanager
def _daemon(lab: Lab, name: str) -> Iterator[tuple[Served, Store]]:
    """A daemon with a full image, and the store as a client of it."""
    path = lab.path(f"store-{name}")
    with cowshed.open(path, create=True) as store:
        store.create(IMAGE, lab.sizes.disk)
        lab.fill(store, IMAGE)
    with cowshed_daemon(path, IMAGE) as served, cowshed.open(path) as store:
        yield served, store


def _fio(
    lab: Lab, kind: str, block: str, depth: int, jobs: int = 1, *more: str, seconds: int | None = None
) -> Fio:
    """Operations in a second, of one run of fio against a server that takes so long."""
    return _fio_once(
        lab,
        kind,
        block,
        depth,
        f"--numjobs={jobs}",
        "--norandommap",
        "--time_based",
        f"--runtime={seconds or lab.sizes.fio_seconds}",
        *more,
    )


def _fio_once(lab: Lab, kind: str, block: str, depth: int, *more: str) -> Fio:
    """The same of a run that goes over the disk once."""
    options = [f"--rw={kind}", f"--bs={block}", f"--iodepth={depth}", f"--size={lab.sizes.disk}", *more]
    return lambda served: lab.peers.fio(served.uri, *options)


def _compare(measure: Fio, servers: dict[str, Served], rounds: int) -> Laps:
    """The time that each server takes for an operation, round by round."""

    def way(name: str, served: Served) -> Way:
        return lambda laps: laps.add(name, 1 / measure(served))

    return interleave(rounds, *(way(name, served) for name, served in servers.items()))


def _rate(laps: Laps, name: str) -> str:
    return f"{number(1 / laps.seconds(name).median)}/s"


# --- random reads and writes


def _reads(lab: Lab) -> list[Figure]:
    lab.say("cached random reads")
    figures = []
    with ExitStack() as stack:
        ours, _ = stack.enter_context(_daemon(lab, "nbd-reads"))
        servers = {
            "cowshed": ours,
            "nbdkit memory": stack.enter_context(nbdkit_memory(lab)),
            "qemu-nbd qcow2": stack.enter_context(qemu_nbd(lab, "qcow2")),
        }
        for depth in (1, 32):
            for connections in (1, 4):
                measure = _fio(lab, "randread", "4k", depth, connections)
                laps = _compare(measure, servers, lab.sizes.fio_rounds)
                plural = "s" if connections > 1 else ""
                what = f"4 KiB cached random reads, depth {depth}, {connections} connection{plural}"
                for peer, bar in (("nbdkit memory", CACHED), ("qemu-nbd qcow2", OVER_QCOW2)):
                    note = f"{_rate(laps, 'cowshed')} against {_rate(laps, peer)}"
                    spread = laps.ratio(peer, "cowshed")
                    figures.append(ratio(TOPIC, f"{what} ÷ {peer}", spread, at_least(bar), note=note))
    return figures


def _writes(lab: Lab) -> list[Figure]:
    """Blocks that the image owns, so in place; with and without a flush behind each."""
    lab.say("random overwrites")
    figures = []
    with ExitStack() as stack:
        ours, _ = stack.enter_context(_daemon(lab, "nbd-writes"))
        servers = {"cowshed": ours, "qemu-nbd raw": stack.enter_context(qemu_nbd(lab, "raw"))}
        for depth in (1, 32):
            laps = _compare(_fio(lab, "randwrite", "4k", depth), servers, lab.sizes.fio_rounds)
            figures.append(
                ratio(
                    TOPIC,
                    f"4 KiB random overwrites, depth {depth} ÷ qemu-nbd raw",
                    laps.ratio("qemu-nbd raw", "cowshed"),
                    at_least(OVERWRITES),
                    note=f"{_rate(laps, 'cowshed')} against {_rate(laps, 'qemu-nbd raw')}",
                )
            )
        measure = _fio(lab, "randwrite", "4k", 1, 1, "--fsync=1")
        laps = _compare(measure, servers, lab.sizes.fio_rounds)
        figures.append(
            ratio(
                TOPIC,
                "4 KiB write + flush, depth 1, time ÷ qemu-nbd raw",
                laps.ratio("cowshed", "qemu-nbd raw"),
                at_most(FLUSHED),
                note=f"{_rate(laps, 'cowshed')} against {_rate(laps, 'qemu-nbd raw')}",
            )
        )
    return figures


def _first_writes(lab: Lab) -> list[Figure]:
    """A new snapshot before each lap. Each write goes to a 64 KiB cluster that has had none since: behind the
    first one qcow2 overwrites.
    """
    lab.say("first writes after a snapshot")
    figures = []
    names = iter(range(1 << 30))
    once = lab.sizes.disk // (64 << 10) * BLOCK
    with _daemon(lab, "nbd-first") as (ours, store):
        for depth in (1, 32):
            measure = _fio_once(lab, "randwrite", "4k", depth, "--blockalign=64k", f"--io_size={once}")

            def turn(laps: Laps, measure: Fio = measure) -> None:
                store.create_snapshot(f"{IMAGE}@first{next(names)}")
                laps.add("cowshed", 1 / measure(ours))
                with qemu_nbd(lab, "qcow2", snapshot=True) as peer:
                    laps.add("qemu-nbd qcow2", 1 / measure(peer))

            laps = interleave(lab.sizes.fio_rounds, turn)
            figures.append(
                ratio(
                    TOPIC,
                    f"4 KiB first writes after a snapshot, depth {depth} ÷ qemu-nbd qcow2",
                    laps.ratio("qemu-nbd qcow2", "cowshed"),
                    at_least(FIRST_WRITES),
                    note=f"{_rate(laps, 'cowshed')} against {_rate(laps, 'qemu-nbd qcow2')}",
                )
            )
            store.purge_snapshots(IMAGE)
    return figures


# --- bulk


def _sequential(lab: Lab) -> list[Figure]:
    lab.say("sequential")
    figures = []
    with ExitStack() as stack:
        ours, _ = stack.enter_context(_daemon(lab, "nbd-sequential"))
        servers = {"cowshed": ours, "qemu-nbd raw": stack.enter_context(qemu_nbd(lab, "raw"))}
        for kind in ("read", "write"):
            laps = _compare(_fio(lab, kind, "1m", 4), servers, lab.sizes.fio_rounds)
            figures.append(
                ratio(
                    TOPIC,
                    f"sequential 1 MiB {kind}s, depth 4 ÷ qemu-nbd raw",
                    laps.ratio("qemu-nbd raw", "cowshed"),
                    at_least(SEQUENTIAL),
                    note=f"{_rate(laps, 'cowshed')} against {_rate(laps, 'qemu-nbd raw')}",
                )
            )
    return figures


def _sparse(lab: Lab) -> list[Figure]:
    """The same data in a disk of its size and, scattered, in larger ones."""
    lab.say("nbdcopy of sparse images")
    data = lab.sizes.disk // 4
    disks = {"full": data, "sparse": 64 * sizes.GIB, "huge": sizes.TIB}
    path = lab.path("store-nbd-sparse")
    with cowshed.open(path, create=True) as store:
        for name, size in disks.items():
            store.create(name, size)
            with store.open(name) as image:
                for at in range(0, data, sizes.MIB):
                    image.write(at * (size // data), lab.payload[: sizes.MIB])
    with cowshed_daemon(path, "full") as served:

        def turn(laps: Laps) -> None:
            for name in disks:
                with laps.time(name):
                    lab.peers.nbdcopy(served.of(name).uri, "null:")

        laps = interleave(lab.sizes.fio_rounds, turn)
    text = sizes.text(data)
    figures = []
    for name, bar in (("sparse", at_most(SPARSE)), ("huge", None)):
        note = f"{number(laps.seconds(name).median)} s"
        if bar is None:
            note += "; nbdcopy asks for the status of each 128 MiB"
        what = f"nbdcopy of {text} of data in a disk of {sizes.text(disks[name])} ÷ in one of {text}, time"
        figures.append(ratio(TOPIC, what, laps.ratio(name, "full"), bar, note=note))
    return figures


# --- snapshots under load


def _snapshots(lab: Lab) -> list[Figure]:
    """Random writes at depth 32 with and without someone who takes a snapshot each second."""
    lab.say("a snapshot a second")
    with _daemon(lab, "nbd-snapshots") as (served, store):
        seconds = lab.sizes.fio_seconds * 3
        mixes = (("randwrite", "writes"), ("randrw", "reads and writes"))
        figures = []
        for kind, text in mixes:
            measure = _fio(lab, kind, "4k", 32, seconds=seconds)

            def alone(laps: Laps, measure: Fio = measure) -> None:
                lab.settle()
                laps.add("alone", 1 / measure(served))

            def with_snapshots(laps: Laps, measure: Fio = measure) -> None:
                lab.settle()
                with _each_second(store):
                    laps.add("with snapshots", 1 / measure(served))
                store.purge_snapshots(IMAGE)
                store.reclaim()

            laps = interleave(lab.sizes.fio_rounds, alone, with_snapshots)
            figures.append(
                ratio(
                    TOPIC,
                    f"4 KiB random {text}, depth 32, with a snapshot a second ÷ without",
                    laps.ratio("alone", "with snapshots"),
                    at_least(SNAPSHOTS),
                    note=f"{_rate(laps, 'with snapshots')} against {_rate(laps, 'alone')}",
                )
            )
    return figures


@contextmanager
def _each_second(store: Store) -> Iterator[None]:
    over = threading.Event()

    def take() -> None:
        for i in range(1 << 30):
            store.create_snapshot(f"{IMAGE}@second{i}")
            if over.wait(1.0):
                return

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _held_back(lab: Lab) -> list[Figure]:
    """How much longer than usual the slowest write took that was under way while a snapshot was taken."""
    lab.say("writes held back by snapshots")
    with _daemon(lab, "nbd-held") as (_, store), store.open(IMAGE) as image:
        dice = lab.dice("held back")
        over = threading.Event()
        writes: list[tuple[float, float]] = []

        def write() -> None:
            while not over.is_set():
                at = dice.randrange(image.size // BLOCK) * BLOCK
                began = time.perf_counter()
                image.write(at, lab.block(len(writes)))
                writes.append((began, time.perf_counter()))

        thread = threading.Thread(target=write)
        thread.start()
        taken = []
        for i in range(lab.sizes.held_back):
            time.sleep(0.05)
            began = time.perf_counter()
            store.create_snapshot(f"{IMAGE}@held{i}")
            taken.append((began, time.perf_counter()))
        over.set()
        thread.join()
    usual = sorted(end - begin for begin, end in writes)[len(writes) // 2]
    slowest = [
        max((end - begin for begin, end in writes if end >= start and begin <= stop), default=0.0)
        for start, stop in taken
    ]
    held = Spread.of([max(0.0, longest - usual) for longest in slowest])
    note = f"of {len(taken)} snapshots; a write usually takes {number(usual * 1e6)} µs"
    return [milliseconds(TOPIC, "a write held back by a snapshot", held, HELD_BACK_MS, note=note)]


# --- memory


def _memory(lab: Lab) -> list[Figure]:
    """A thousand exports open, each by a connection of its own, and a hundred of them busy."""
    lab.say("memory of a thousand exports")
    exports, busy = lab.sizes.exports, lab.sizes.busy_exports
    path = lab.path("store-nbd-memory")
    with cowshed.open(path, create=True) as store:
        for i in range(exports):
            store.create(f"disk{i}", 64 * sizes.MIB)
    with cowshed_daemon(path, "disk0") as served, cowshed.open(path) as store, ExitStack() as stack:
        images = [stack.enter_context(store.open(f"disk{i}")) for i in range(exports)]
        over = time.monotonic() + lab.sizes.fio_seconds * 3

        def work(number: int) -> None:
            dice = lab.dice(f"memory {number}")
            image = images[number]
            while time.monotonic() < over:
                at = dice.randrange(image.size // BLOCK) * BLOCK
                image.write(at, lab.block(at))
                image.read(dice.randrange(image.size // BLOCK) * BLOCK, BLOCK)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(busy)]
        most = 0.0
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, _resident_mib(served.pid))
            time.sleep(0.1)
        for thread in threads:
            thread.join()
    cache = 64.0
    name = f"memory of the daemon, {exports:,} exports open, {busy} busy, beyond the page cache, MiB"
    return [
        count(
            TOPIC,
            name,
            most - cache,
            at_most(MEMORY_MIB),
            note=f"{most:.0f} MiB less {cache:.0f} MiB of cache",
        )
    ]


def _resident_mib(pid: int) -> float:
    """Memory that is not that of files."""
    with Path(f"/proc/{pid}/status").open() as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    raise OSError(f"/proc/{pid}/status has no RssAnon")
