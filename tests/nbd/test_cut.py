"""Connections that are cut at any byte: the server serves others, forgets them, and leaves blocks whole."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model.kernel_module import REAL, KernelError
from nbd.history import BLOCK, Region, fill, tokens
from nbd.relay import Cut, relay
from nbd.resources import held, until, until_no_more_is_held
from nbd.serving import Served
from nbd.serving import served as serving

BLOCKS = 128
WORKERS = 4
CUTS = int(os.environ.get("COWSHED_ROUNDS", "25"))
"""Of each worker."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Without TLS; that no one broke the protocol is not expected."""
    if not REAL:
        pytest.skip("cowshed._kernel is not built")
    with serving(tmp_path / "store", tmp_path / "socket") as here:
        yield here


def work(served: Served, address: str, name: str, region: Region, rng: random.Random) -> bool:
    """Write, read and flush until the connection is cut. Whether it came to a request."""
    from cowshed._kernel import NbdClient

    begun = False
    try:
        with NbdClient.connect(address, name) as client:
            while True:
                first = rng.randrange(BLOCKS)
                count = min(rng.choice([1, 1, 3, 40, 100]), BLOCKS - first)
                kind = rng.random()
                begun = True
                if kind < 0.3:
                    region.compare(tokens(client.read(first * BLOCK, count * BLOCK)), first)
                    continue
                if kind < 0.35:
                    client.flush()
                    continue
                write = region.begin(first, count, zeros=kind < 0.5)
                if kind < 0.45:
                    client.discard(first * BLOCK, count * BLOCK)
                elif kind < 0.5:
                    client.write_zeroes(first * BLOCK, count * BLOCK)
                else:
                    client.write(first * BLOCK, fill(write.number, count), fua=kind < 0.6)
                region.lasts(write.number)
    except KernelError as error:
        if error.kind != "io":
            raise
    return begun


def worker(served: Served, address: str, name: str, seed: str) -> int:
    """Be cut off again and again; how often it came to a request."""
    rng = random.Random(seed)
    region = Region(BLOCKS)
    requests = 0
    for _ in range(CUTS):
        requests += work(served, address, name, region, rng)
        # What it did for the connection it does before it forgets it.
        until(lambda: all(c.label != name for c in served.server.connections()), f"connections to {name}")
        found = tokens(served.content(name))
        region.compare(found)
        region.found(found)
    return requests


def steady(served: Served, address: str, stop: threading.Event) -> int:
    """One whom nobody cuts off, and who is to notice nothing of it."""
    from cowshed._kernel import NbdClient

    done = 0
    with NbdClient.connect(address, "steady") as client:
        while not stop.is_set():
            done += 1
            data = fill(done, 3)
            client.write(done % 50 * BLOCK, data)
            assert client.read(done % 50 * BLOCK, len(data)) == data
            if done % 20 == 0:
                client.flush()
    return done


@pytest.mark.parametrize("kind", ["unix", "tcp", "reset"])
def test_cut_at_any_byte(served: Served, kind: str, tmp_path: Path, rng: random.Random) -> None:
    names = [f"disk{number}" for number in range(WORKERS)]
    for name in [*names, "steady"]:
        served.disk(name, BLOCKS * BLOCK)
    before = held()
    dice = random.Random(rng.random())

    def plan() -> Cut:
        def some() -> int:
            # Often within the handshake or the first requests, sometimes after many.
            return int(2 ** dice.uniform(0, 21))

        least = dice.choice([0, 300])
        return Cut(least + some(), least + some(), reset=kind == "reset")

    tcp = served.ways["tcp"]
    server = served.ways["unix"].host if kind == "unix" else (tcp.host, tcp.port)
    place = str(tmp_path / "relay") if kind == "unix" else ("127.0.0.1", 0)
    direct = f"unix:{served.ways['unix'].host}"
    stop = threading.Event()
    with relay(server, plan, place) as address, ThreadPoolExecutor(WORKERS + 1) as pool:
        always = pool.submit(steady, served, direct, stop)
        try:
            seeds = [str(rng.random()) for _ in names]
            busy = [pool.submit(worker, served, address, *pair) for pair in zip(names, seeds, strict=True)]
            requests = sum(one.result() for one in busy)
        finally:
            stop.set()
        assert always.result() > 0
    # Not all were cut off in the handshake already.
    assert requests > CUTS
    until(lambda: served.server.connections() == [], "connections")
    until_no_more_is_held(before)


class Raw:
    """A client that sends what it likes and reads only what it wants to."""

    def __init__(self, way: tuple[str, int], export: str) -> None:
        self.socket = socket.create_connection(way)
        self.socket.settimeout(30)
        self.receive(18)
        self.socket.sendall(struct.pack(">I", 3))
        name = export.encode()
        data = struct.pack(">I", len(name)) + name + struct.pack(">H", 0)
        self.socket.sendall(b"IHAVEOPT" + struct.pack(">II", 7, len(data)) + data)
        while True:
            _, _, kind, length = struct.unpack(">QIII", self.receive(20))
            self.receive(length)
            if kind == 1:
                return

    def receive(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self.socket.recv(length - len(data))
            assert more
            data += more
        return data

    @staticmethod
    def request(command: int, offset: int, length: int, flags: int = 0) -> bytes:
        return struct.pack(">IHHQQI", 0x25609513, flags, command, 77, offset, length)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def test_a_client_that_goes_without_its_replies(served: Served, rng: random.Random) -> None:
    """It asks for much that is not in memory, takes none of it, and is gone: all that it had is forgotten."""
    size = 64 << 20
    head = served.disk("disk", size)
    for at in range(0, size, 1 << 20):
        served.kernel.disk(head).write(at, rng.randbytes(1 << 20))
    served.kernel.flush()
    blocks = served.store / "blocks"
    before = held()
    tcp = served.ways["tcp"]
    for _ in range(10):
        # So that reads have to wait for the medium, and are done apart.
        with blocks.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        raw = Raw((tcp.host, tcp.port), "disk")
        requests = [Raw.request(0, rng.randrange(63) << 20, 1 << 20) for _ in range(60)]
        # Flushes and durable trims are done apart, too.
        requests += [Raw.request(3, 0, 0), Raw.request(4, 0, 4096, 1)] * 5
        raw.socket.sendall(b"".join(requests))
        raw.receive(rng.randrange(1, 200_000))
        raw.reset()
    until(lambda: served.server.connections() == [], "connections")
    until_no_more_is_held(before)


@pytest.mark.parametrize("length", [1, 27])
def test_half_a_request_is_none(served: Served, length: int) -> None:
    served.disk("disk", 1 << 20, b"\x11" * (1 << 20))
    tcp = served.ways["tcp"]
    raw = Raw((tcp.host, tcp.port), "disk")
    raw.socket.sendall(Raw.request(4, 0, 1 << 20)[:length])
    raw.socket.close()
    until(lambda: served.server.connections() == [], "connections")
    assert served.content("disk") == b"\x11" * (1 << 20)
    assert served.names.faults == []


def test_half_a_payload_writes_whole_blocks_or_nothing(served: Served) -> None:
    served.disk("disk", 1 << 20)
    tcp = served.ways["tcp"]
    for sent in (1, 4095, 4096, 5000, 131072, 200_000, 300_000):
        raw = Raw((tcp.host, tcp.port), "disk")
        raw.socket.sendall(Raw.request(1, 0, 1 << 19) + fill(sent, 128)[:sent])
        raw.socket.close()
        until(lambda: served.server.connections() == [], "connections")
        found = tokens(served.content("disk"))
        written = found.count(sent)
        assert found[:written] == [sent] * written
        assert written <= sent // BLOCK
    assert served.names.faults == []
