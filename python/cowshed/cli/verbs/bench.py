"""bench: reads and writes on one image, in the shape of `rbd bench`."""

from __future__ import annotations

import itertools
import random
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.places import image_or_snapshot, takes
from cowshed.cli.session import Session
from cowshed.cli.sizes import format_size, size_in_bytes
from cowshed.errors import InvalidArgument
from cowshed.store import Image, ImageSpec, Progress, SnapSpec

WINDOW = 5
"""Seconds that the rates of a row are taken over, as in rbd."""


@dataclass
class Load:
    """What is to be done: `ops` operations of `io_size` bytes from `threads` threads."""

    io_size: int
    threads: int
    ops: int
    random: bool
    read_share: int
    """Reads in a hundred."""


@dataclass
class Tally:
    """What was done so far. Every thread counts in its own one."""

    reads: int = 0
    writes: int = 0

    @property
    def ops(self) -> int:
        """Reads and writes."""
        return self.reads + self.writes


@dataclass
class Run:
    """A load at work on an image."""

    image: Image
    load: Load
    stop: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tallies = [Tally() for _ in range(self.load.threads)]
        # next() on it is atomic, so the threads share the operations without a lock.
        self._turns = itertools.count()
        self._threads = [
            threading.Thread(target=self._work, args=(i, tally), daemon=True)
            for i, tally in enumerate(self.tallies)
        ]

    @property
    def done(self) -> int:
        """Operations done so far."""
        return sum(tally.ops for tally in self.tallies)

    def start(self) -> None:
        """Start all threads."""
        for thread in self._threads:
            thread.start()

    def wait(self, until: float | None = None) -> bool:
        """Wait for the threads to end, at most until that time; whether they have."""
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.perf_counter()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self, index: int, tally: Tally) -> None:
        load = self.load
        dice = random.Random()
        slots = self.image.size // load.io_size
        # Sequential threads each start in a part of their own, as rbd's do.
        slot = slots // load.threads * index
        payload = bytes([dice.randrange(1, 256)]) * load.io_size
        buffer = bytearray(load.io_size)
        try:
            while not self.stop.is_set() and next(self._turns) < load.ops:
                offset = (dice.randrange(slots) if load.random else slot % slots) * load.io_size
                slot += 1
                if load.read_share and dice.randrange(100) < load.read_share:
                    self.image.read_into(offset, buffer)
                    tally.reads += 1
                else:
                    self.image.write(offset, payload)
                    tally.writes += 1
        except BaseException as error:
            self.failures.append(error)
            self.stop.set()


@verb(
    "bench",
    examples="""
    cowshed bench disk1 --io-type write --io-pattern rand
    cowshed bench disk1 --io-type readwrite --rw-mix-read 70 --io-total 256M
    cowshed bench disk1@monday --io-type read --io-size 64K
    """,
)
@takes(image_or_snapshot())
@click.option(
    "--io-type",
    required=True,
    type=click.Choice(["read", "write", "readwrite", "rw"]),
    help="What to do; write and readwrite overwrite the image.",
)
@click.option(
    "--io-size", type=size_in_bytes, default="4K", show_default=True, help="Bytes in one operation."
)
@click.option(
    "--io-threads", type=click.IntRange(1, 1024), default=16, show_default=True, help="Operations in flight."
)
@click.option("--io-total", type=size_in_bytes, default="1G", show_default=True, help="Bytes in all.")
@click.option(
    "--io-pattern", type=click.Choice(["seq", "rand"]), default="seq", show_default=True, help="Where."
)
@click.option(
    "--rw-mix-read",
    type=click.IntRange(0, 100),
    default=50,
    show_default=True,
    help="Reads in a hundred operations of readwrite.",
)
@takes_no_progress
@click.pass_obj
def bench(
    session: Session,
    spec: ImageSpec | SnapSpec,
    io_type: str,
    io_size: int,
    io_threads: int,
    io_total: int,
    io_pattern: str,
    rw_mix_read: int,
    progress: bool,
) -> None:
    """Measure reads and writes on an image, with one row of figures per second.

    Writing overwrites the image's content, as `rbd bench` does: use an image made for it, or a clone.
    """
    if not 1 <= io_size < 1 << 32:
        raise InvalidArgument(f"--io-size {io_size} is out of range", hint="from 1 byte to under 4 GiB")
    kind = "readwrite" if io_type == "rw" else io_type
    share = {"read": 100, "write": 0, "readwrite": rw_mix_read}[kind]
    if isinstance(spec, SnapSpec) and kind != "read":
        raise InvalidArgument(f"'{spec}' is a snapshot and cannot be written", hint="use --io-type read")
    load = Load(io_size, io_threads, -(-io_total // io_size), io_pattern == "rand", share)
    with session.open() as store, store.open(spec, read_only=kind == "read") as opened:
        if io_size > opened.size:
            raise InvalidArgument(
                f"--io-size {format_size(io_size)} is larger than the image ({format_size(opened.size)})"
            )
        mix = f" read:write={share}:{100 - share}" if kind == "readwrite" else ""
        pattern = "random" if load.random else "sequential"
        print(
            f"bench  type {kind}{mix} io_size {io_size} io_threads {io_threads} bytes {io_total}"
            f" pattern {pattern}"
        )
        # The rows are progress enough where they can be seen.
        with bar("Benchmark", unit="op", wanted=progress and not sys.stdout.isatty()) as shown:
            run = Run(opened, load)
            elapsed = _drive(run, shown)
    _print_sums(run, elapsed, mixed=kind == "readwrite")


def _drive(run: Run, shown: Progress) -> float:
    """Run the load, print a row per second, flush at the end; returns the seconds it took."""
    print("  SEC       OPS   OPS/SEC   BYTES/SEC", flush=True)
    start = time.perf_counter()
    window: deque[tuple[float, int]] = deque([(start, 0)], maxlen=WINDOW + 1)
    run.start()
    try:
        second = 1
        while not run.wait(start + second):
            now, done = time.perf_counter(), run.done
            window.append((now, done))
            rate = (done - window[0][1]) / (now - window[0][0])
            print(f"{second:5d}  {done:8d}  {rate:8.2f}  {rate * run.load.io_size:8.2f}", flush=True)
            shown(done, run.load.ops)
            second += 1
    except BaseException:
        run.stop.set()
        run.wait()
        raise
    if run.failures:
        raise run.failures[0]
    if not run.image.read_only:
        run.image.flush()
    return time.perf_counter() - start


def _print_sums(run: Run, elapsed: float, *, mixed: bool) -> None:
    size = run.load.io_size
    reads = sum(tally.reads for tally in run.tallies)
    writes = sum(tally.writes for tally in run.tallies)
    ops = reads + writes
    print(
        f"elapsed: {int(elapsed):5d}  ops: {ops:8d}  ops/sec: {ops / elapsed:8.2f}"
        f"  bytes/sec: {ops * size / elapsed:8.2f}"
    )
    if mixed:
        for name, count in (("read", reads), ("write", writes)):
            print(
                f"{name}_ops: {count:5d}   {name}_ops/sec: {count / elapsed:8.2f}"
                f"   {name}_bytes/sec: {count * size / elapsed:8.2f}"
            )
