"""The NBD client and cowshed's own server: what only these two say to each other, and each over TLS."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import cowshed._kernel as kernel
from nbd.certificates import Authority

if not hasattr(kernel, "NbdServer"):
    pytest.skip("the compiled kernel is missing", allow_module_level=True)

from cowshed._kernel import (
    ClientTls,
    Fence,
    Kernel,
    KernelError,
    NbdClient,
    NbdExport,
    NbdServer,
    ServerTls,
)

MIB = 1 << 20
SIZE = 64 * MIB


class Disks:
    """One head, `disk`, and its snapshot `before`."""

    def __init__(self, kernel: Kernel) -> None:
        with kernel.transaction() as change:
            self.head = change.create(SIZE)
        kernel.disk(self.head).write(0, b"\1" * MIB)
        with kernel.transaction() as change:
            self.before = change.freeze(self.head)
        self.fence = Fence()

    def open(self, name: str, peer: str) -> NbdExport:
        if name == "secret":
            raise PermissionError("that is not yours")
        if name != "disk":
            raise LookupError(f"there is no image {name}")
        return NbdExport(self.head, read_only=False, fence=self.fence, me=1)

    def close(self, export: NbdExport, fault: str | None) -> None:
        assert fault is None

    def names(self) -> list[tuple[str, str]]:
        return []

    def snapshots(self, export: NbdExport) -> list[str]:
        return ["before"]

    def snapshot_version(self, export: NbdExport, name: str) -> int:
        return {"before": self.before}[name]


@contextmanager
def _serving(directory: Path) -> Iterator[tuple[NbdServer, Disks]]:
    Kernel.create(directory / "store")
    with Kernel.open(directory / "store") as opened:
        disks = Disks(opened)
        server = NbdServer(opened, disks)
        try:
            yield server, disks
        finally:
            server.stop(0)


def test_differences_errors_and_names(tmp_path: Path) -> None:
    socket = tmp_path / "socket"
    with _serving(tmp_path) as (server, disks):
        server.listen_unix(socket)
        with NbdClient.connect(f"unix:{socket}", "disk") as client:
            assert (client.size, client.read_only, client.dialect) == (SIZE, False, "extended")
            client.write(5 * MIB, b"x" * 8192)
            client.discard(0, 4096)
            assert client.read(0, 4097) == bytes(4096) + b"\1"
            changed = [
                (offset, length)
                for offset, length, flags in client.extents(0, SIZE, "cowshed:diff:before")
                if flags & 1
            ]
            assert changed == [(0, 4096), (5 * MIB, 8192)]
            with pytest.raises(KernelError) as refused:
                client.extents(0, SIZE, "cowshed:diff:other")
            assert refused.value.kind == "missing"
            disks.fence.owner = 2
            with pytest.raises(KernelError) as refused:
                client.write(0, b"fenced off")
            assert refused.value.kind == "read-only"
            disks.fence.owner = 1
            client.write(0, b"let in", fua=True)
            assert client.read(0, 6) == b"let in"
        for name, kind, words in [("other", "missing", "no image other"), ("secret", "refused", "not yours")]:
            with pytest.raises(KernelError, match=words) as refused:
                NbdClient.connect(f"unix:{socket}", name)
            assert refused.value.kind == kind


@pytest.mark.parametrize("encrypted", [True, False])
def test_many_threads(tmp_path: Path, encrypted: bool) -> None:
    server_tls = client_tls = None
    if encrypted:
        authority = Authority.make(tmp_path / "pki")
        authority.server("localhost")
        files = authority.directory
        server_tls = ServerTls(files / "server-cert.pem", files / "server-key.pem")
        client_tls = ClientTls(ca=authority.ca)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    with _serving(tmp_path) as (server, _):
        port = server.listen_tcp("127.0.0.1", 0, tls=server_tls, require_tls=encrypted)
        with NbdClient.connect(f"tcp:localhost:{port}", "disk", tls=client_tls) as client:

            def work(i: int) -> None:
                rng = random.Random(seed + i)
                start, oracle = (i + 1) * 8 * MIB, bytearray(8 * MIB)
                for _ in range(20):
                    length = rng.choice([100, 4096, 70_000, 3 * MIB + 1])
                    at = rng.randrange(len(oracle) - length)
                    if rng.random() < 0.5:
                        oracle[at : at + length] = rng.randbytes(length)
                        client.write(start + at, oracle[at : at + length])
                    else:
                        assert client.read(start + at, length) == oracle[at : at + length]
                assert client.read(start, len(oracle)) == oracle

            with ThreadPoolExecutor(6) as pool:
                list(pool.map(work, range(6)))
