"""A server that goes away and comes back: nothing that it acknowledged is lost, however it went."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attach.host import needs_blocks, needs_fuse, run, tool
from model.kernel_module import REAL

if not REAL:
    pytest.skip("cowshed._kernel is not built", allow_module_level=True)

import cowshed
from attach.conftest import ByName, Host
from cowshed._kernel import FuseMount, NbdClient, NbdServer
from cowshed.local import LocalStore

pytestmark = needs_fuse

MIB = 1 << 20
TESTS = Path(__file__).resolve().parent.parent


class Server:
    """The store in a process of its own, which can be killed and started again."""

    def __init__(self, room: Path) -> None:
        self.store = room / "store"
        self.socket = room / "nbd.sock"
        self.process: subprocess.Popen[str] | None = None
        with cowshed.open(self.store, create=True) as store:
            store.create("vm1", 64 * MIB)

    def start(self) -> None:
        path = os.pathsep.join([str(TESTS), *sys.path])
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "attach" / "serving.py"), str(self.store), str(self.socket)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def content(self) -> bytes:
        """What is durable: as whoever opens the store next finds it."""
        self.kill()
        with cowshed.open(self.store, wait_seconds=10) as store, store.open("vm1") as image:
            assert store.check() == []
            return image.read(0, image.size)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


def mounted(server: Server, room: Path, patience: float = 30.0) -> FuseMount:
    point = room / "mnt"
    point.mkdir()
    client = NbdClient.connect(f"unix:{server.socket}", "rbd/vm1")
    return FuseMount.mount(client, point, patience_seconds=patience)


@needs_blocks
def test_a_file_system_outlives_the_daemon(server: Server, tmp_path: Path) -> None:
    """A mapped and mounted image, written all the time, while what serves it is killed and started again."""
    mkfs, mount = tool("mkfs.ext4", "e2fsprogs"), tool("mount", "mount")
    host = Host(tmp_path)
    device = host.map("vm1", "--nbd", f"unix:{server.socket}", "--device-type", "fuse")
    point = tmp_path / "point"
    point.mkdir()
    written: dict[str, bytes] = {}
    rounds: list[str] = []
    stop = threading.Event()

    def write() -> None:
        dice = random.Random(1)
        while not stop.is_set():
            name = f"f{len(rounds) % 40}"
            data = dice.randbytes(dice.randrange(400_000))
            with (point / name).open("wb", buffering=0) as file:
                file.write(data)
                os.fsync(file.fileno())
            written[name] = data
            rounds.append(name)

    run(mkfs, "-q", device)
    run(mount, device, point)
    try:
        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(3):
            goal = len(rounds) + 3
            until(lambda goal=goal: len(rounds) >= goal)  # type: ignore[misc]
            server.kill()
            server.start()
        stop.set()
        writer.join()
    finally:
        run(tool("umount", "mount"), point)
    host("unmap", device)
    server.kill()
    server.start()
    device = host.map("vm1", "--nbd", f"unix:{server.socket}", "--read-only", "--device-type", "fuse")
    run(tool("e2fsck", "e2fsprogs"), "-fn", device)
    run(mount, "--read-only", device, point)
    try:
        assert {name: (point / name).read_bytes() for name in written} == written
    finally:
        run(tool("umount", "mount"), point)
        host("unmap", device)
    assert host.left() == []


def test_what_was_not_flushed_is_written_again(server: Server, tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    mount = mounted(server, tmp_path)
    oracle = bytearray(64 * MIB)
    with Path(mount.path).open("r+b", buffering=0) as file:
        for turn in range(4):
            for _ in range(40):
                # Places overlap, so that the order matters too.
                offset, length = dice.randrange(4 * MIB), dice.choice([1, 512, 4096, 100_000])
                data = dice.randbytes(length)
                assert os.pwrite(file.fileno(), data, offset) == length
                oracle[offset : offset + length] = data
                if dice.random() < 0.1:
                    os.fsync(file.fileno())
            server.kill()
            server.start()
            assert os.pread(file.fileno(), 5 * MIB, 0) == oracle[: 5 * MIB], f"turn {turn}"
        os.pwrite(file.fileno(), b"last" * 1024, 5 * MIB)
        oracle[5 * MIB : 5 * MIB + 4096] = b"last" * 1024
    mount.unmount()
    # Killed without a warning: what is there was made durable by the unmount.
    assert server.content() == oracle


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_flush_means_what_it_says(server: Server, tmp_path: Path) -> None:
    mount = mounted(server, tmp_path)
    with Path(mount.path).open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"early" * 1000, 0)
        server.kill()
        server.start()
        os.fsync(file.fileno())
        os.pwrite(file.fileno(), b"later" * 1000, MIB)
        os.fsync(file.fileno())
        content = server.content()
        assert content[:5000] == b"early" * 1000
        assert content[MIB : MIB + 5000] == b"later" * 1000
        server.start()
    mount.unmount()


def test_requests_wait(server: Server, tmp_path: Path) -> None:
    mount = mounted(server, tmp_path)
    server.kill()
    done: list[int] = []

    def work(number: int) -> None:
        with Path(mount.path).open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), bytes([number]) * 4096, number * 4096)
            os.fsync(file.fileno())
        done.append(number)

    workers = [threading.Thread(target=work, args=[number]) for number in range(1, 5)]
    for worker in workers:
        worker.start()
    # They have no one to answer them yet, however long this takes.
    assert done == []
    server.start()
    for worker in workers:
        worker.join(30)
    assert sorted(done) == [1, 2, 3, 4]
    mount.unmount()
    content = server.content()
    assert [content[number * 4096] for number in range(5)] == [0, 1, 2, 3, 4]


def test_patience_ends(server: Server, tmp_path: Path) -> None:
    mount = mounted(server, tmp_path, patience=0.5)
    server.kill()
    begun = time.monotonic()
    fd = os.open(mount.path, os.O_RDWR)
    with pytest.raises(OSError, match="Input/output") as failed:
        os.pread(fd, 1, 0)
    assert failed.value.errno == errno.EIO
    assert time.monotonic() - begun >= 0.2
    assert str(server.socket) in (mount.wait() or "")
    # It is over then, even if the server comes back: the file system above has seen a failure.
    server.start()
    with pytest.raises(OSError, match="Input/output"):
        os.pread(fd, 1, 0)
    os.close(fd)


def test_another_disk_in_its_place(server: Server, tmp_path: Path) -> None:
    mount = mounted(server, tmp_path)
    fd = os.open(mount.path, os.O_RDWR)
    os.pwrite(fd, b"x" * 4096, 0)
    server.kill()
    with cowshed.open(server.store, wait_seconds=10) as store:
        store.resize("vm1", 65 * MIB)
    server.start()
    with pytest.raises(OSError, match="Stale"):
        os.pread(fd, 1, 0)
    assert "another one" in (mount.wait() or "")
    os.close(fd)
    assert server.content() == bytes(65 * MIB)


def test_the_image_is_gone(server: Server, tmp_path: Path) -> None:
    mount = mounted(server, tmp_path, patience=0.5)
    server.kill()
    with cowshed.open(server.store, wait_seconds=10) as store:
        store.remove("vm1")
    server.start()
    fd = os.open(mount.path, os.O_RDWR)
    with pytest.raises(OSError, match="Input/output"):
        os.pread(fd, 1, 0)
    os.close(fd)
    assert "rbd/vm1" in (mount.wait() or "")


def test_much_is_flushed_in_passing(served: LocalStore, tmp_path: Path) -> None:
    served.create("big", 256 * MIB)
    with_counts = NbdServer(served._catalog.kernel, ByName(served))
    with_counts.listen_unix(tmp_path / "counts.sock")
    point = tmp_path / "big"
    point.mkdir()
    client = NbdClient.connect(f"unix:{tmp_path}/counts.sock", "rbd/big")
    mount = FuseMount.mount(client, point, patience_seconds=1.0)
    with Path(mount.path).open("r+b", buffering=0) as file:
        for at in range(200):
            os.pwrite(file.fileno(), os.urandom(MIB), at * MIB)
    flushes = [entry.requests for entry in with_counts.statistics() if entry.operation == "flush"]
    # 64 MiB are kept at most.
    assert flushes == [3]
    mount.unmount()
    client.close()
    with_counts.stop()
