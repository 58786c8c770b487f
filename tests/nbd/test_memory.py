"""What a server of a thousand exports takes: its page cache has a bound, and the rest must be small."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from model.kernel_module import REAL
from nbd.history import BLOCK
from nbd.resources import resident
from nbd.serving import Names

EXPORTS = 1000
BUSY = 100
CACHE = 16 << 20
BOUND = 200 << 20
"""Beyond the cache; threads and buffers of this test's own clients are in it, too."""
SIZE = 1 << 30


DESCRIPTORS = 5 * EXPORTS
"""Three of the server's and one of the client's for each connection, and some."""


@pytest.fixture(autouse=True)
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"a process may have {hard} open files here, and this takes {DESCRIPTORS}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not REAL, reason="cowshed._kernel is not built")
def test_a_thousand_exports_and_a_hundred_busy_connections(tmp_path: Path, rng: random.Random) -> None:
    from cowshed._kernel import Kernel, NbdClient, NbdServer

    Kernel.create(tmp_path / "store")
    with Kernel.open(tmp_path / "store", cache_bytes=CACHE) as kernel, ExitStack() as ending:
        names = Names()
        with kernel.transaction() as transaction:
            for number in range(EXPORTS):
                names.versions[f"disk{number}"] = transaction.create(SIZE)
        server = NbdServer(kernel, names)
        ending.callback(server.stop, 5)
        server.listen_unix(tmp_path / "socket")
        before = resident()
        address = f"unix:{tmp_path / 'socket'}"
        clients = [ending.enter_context(NbdClient.connect(address, name)) for name in names.versions]
        assert len(server.connections()) == EXPORTS
        idle = resident() - before
        data = rng.randbytes(1 << 20)

        def work(number: int) -> None:
            dice = random.Random(number)
            client = clients[number]
            # Far apart, so that there are many pages; long ones, so that buffers are used.
            for _ in range(12):
                at = dice.randrange(SIZE // BLOCK) * BLOCK
                client.write(at, data[:BLOCK])
                assert client.read(at, BLOCK) == data[:BLOCK]
            client.write(0, data)
            client.flush()
            assert client.read(0, len(data)) == data

        with ThreadPoolExecutor(BUSY) as pool:
            for one in [pool.submit(work, number) for number in range(BUSY)]:
                one.result()
        busy = resident() - before
        print(f"{EXPORTS} idle: {idle >> 20} MiB; {BUSY} busy: {busy >> 20} MiB")
        assert idle < BOUND // 2
        assert busy < BOUND + CACHE
