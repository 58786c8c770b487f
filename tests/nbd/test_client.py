"""The NBD client against servers that others wrote, and against sockets that are none."""

from __future__ import annotations

import array
import json
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

import cowshed._kernel as kernel
from nbd.peers import Peer, free_port, nbdkit, needs, qemu_nbd, run

if not hasattr(kernel, "NbdClient"):
    pytest.skip("the compiled kernel is missing", allow_module_level=True)

from cowshed._kernel import KernelError, NbdClient

KIB, MIB = 1 << 10, 1 << 20
SIZE = 32 * MIB

Opener = Callable[[Path], AbstractContextManager[Peer]]


@contextmanager
def _nbdkit_memory(directory: Path) -> Iterator[Peer]:
    with nbdkit(directory, "memory", str(SIZE)) as peer:
        yield peer


@contextmanager
def _nbdkit_memory_tcp(directory: Path) -> Iterator[Peer]:
    with nbdkit(directory, "memory", str(SIZE), tcp=True) as peer:
        yield peer


@contextmanager
def _nbdkit_simple(directory: Path) -> Iterator[Peer]:
    with nbdkit(directory, "--no-sr", "memory", str(SIZE)) as peer:
        yield peer


@contextmanager
def _nbdkit_file(directory: Path) -> Iterator[Peer]:
    disk = directory / "disk"
    disk.touch()
    with disk.open("r+b") as file:
        file.truncate(SIZE)
    # Each reply a little late, so that they overtake each other.
    with nbdkit(directory, "--filter=delay", "file", str(disk), "delay-read=2ms", "delay-write=1ms") as peer:
        yield peer


@contextmanager
def _qemu_raw(directory: Path) -> Iterator[Peer]:
    disk = directory / "disk"
    disk.touch()
    with disk.open("r+b") as file:
        file.truncate(SIZE)
    with qemu_nbd(directory, "-f", "raw", "--discard=unmap", str(disk)) as peer:
        yield peer


@contextmanager
def _qemu_qcow2_tcp(directory: Path) -> Iterator[Peer]:
    needs("qemu-img", "qemu-utils")
    run("qemu-img", "create", "-q", "-f", "qcow2", directory / "disk", str(SIZE))
    with qemu_nbd(directory, "-f", "qcow2", "--discard=unmap", str(directory / "disk"), tcp=True) as peer:
        yield peer


PEERS: dict[str, tuple[Opener, str]] = {
    "nbdkit memory": (_nbdkit_memory, "structured"),
    "nbdkit memory, TCP": (_nbdkit_memory_tcp, "structured"),
    "nbdkit without structured replies": (_nbdkit_simple, "simple"),
    "nbdkit file, late": (_nbdkit_file, "structured"),
    "qemu raw": (_qemu_raw, "extended"),
    "qemu qcow2, TCP": (_qemu_qcow2_tcp, "extended"),
}


@pytest.fixture(params=PEERS)
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Peer, str]]:
    opener, dialect = PEERS[request.param]
    with opener(tmp_path) as running:
        yield running, dialect


def _kind(error: pytest.ExceptionInfo[KernelError]) -> str:
    return error.value.kind


def _worker(client: NbdClient, start: int, end: int, seed: int, steps: int) -> bytearray:
    """Random operations within a range that is this thread's, each read compared with what must be there."""
    rng = random.Random(seed)
    oracle = bytearray(end - start)
    for step in range(steps):
        length = rng.choice([512, 4 * KIB, 4 * KIB, 64 * KIB, MIB + 512, 3 * MIB])
        offset = rng.randrange(0, (end - start - length) // 512) * 512
        what = rng.choice(["read", "read", "read_into", "write", "write", "zeroes", "discard", "flush"])
        if what == "write":
            data = rng.randbytes(length)
            client.write(start + offset, data, fua=rng.random() < 0.2)
            oracle[offset : offset + length] = data
        elif what == "zeroes":
            client.write_zeroes(start + offset, length)
            oracle[offset : offset + length] = bytes(length)
        elif what == "discard":
            # What is there afterwards is the server's affair.
            client.discard(start + offset, length)
            client.write_zeroes(start + offset, length)
            oracle[offset : offset + length] = bytes(length)
        elif what == "flush":
            client.flush()
        else:
            if what == "read":
                got = client.read(start + offset, length)
            else:
                got_into = bytearray(length)
                client.read_into(start + offset, got_into)
                got = bytes(got_into)
            assert got == oracle[offset : offset + length], (
                f"{what} {length} at {offset}, seed {seed}, step {step}"
            )
    return oracle


def test_many_threads_see_their_own_bytes(peer: tuple[Peer, str]) -> None:
    running, dialect = peer
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    threads, part = 4, SIZE // 4
    with NbdClient.connect(running.address, "") as client:
        assert (client.size, client.read_only, client.dialect) == (SIZE, False, dialect)
        with ThreadPoolExecutor(threads) as pool:
            oracles = list(
                pool.map(lambda i: _worker(client, i * part, (i + 1) * part, seed + i, 40), range(threads))
            )
        whole = b"".join(oracles)
        assert client.read(0, SIZE) == whole
        client.flush()
    with NbdClient.connect(running.address, "") as again:
        assert again.read(0, SIZE) == whole


def test_extents_cover_the_range(peer: tuple[Peer, str]) -> None:
    running, dialect = peer
    with NbdClient.connect(running.address, "") as client:
        client.write(5 * MIB, b"x" * MIB)
        extents = client.extents(0, SIZE)
        at = 0
        for offset, length, _ in extents:
            assert (offset, length > 0) == (at, True)
            at += length
        assert at == SIZE
        assert all(left[2] != right[2] for left, right in pairwise(extents))
        if dialect == "simple":
            assert extents == [(0, SIZE, 0)]
            assert client.contexts == []
        else:
            assert client.contexts == ["base:allocation"]
            assert (5 * MIB, MIB, 0) in extents
            assert extents[0][2] & 2
        assert client.extents(5 * MIB + 4096, 8192) == [(5 * MIB + 4096, 8192, 0)]
        assert client.extents(0, 0) == []


def test_extents_of_qcow2_are_those_that_qemu_img_tells(tmp_path: Path) -> None:
    needs("qemu-io", "qemu-utils")
    disk = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", disk, "8G")
    rng = random.Random(4)
    for _ in range(30):
        command = rng.choice(["write", "write -z"])
        offset, length = rng.randrange(8 << 14) * 64 * KIB, rng.randint(1, 40) * 64 * KIB
        run("qemu-io", "-f", "qcow2", "-c", f"{command} {offset} {min(length, (8 << 30) - offset)}", disk)
    told = json.loads(run("qemu-img", "map", "--output=json", "-f", "qcow2", disk))
    expected: list[tuple[int, int, int]] = []
    for piece in told:
        flags = (0 if piece["data"] else 1) | (2 if piece["zero"] else 0)
        if expected and expected[-1][2] == flags:
            last = expected.pop()
            expected.append((last[0], last[1] + piece["length"], flags))
        else:
            expected.append((piece["start"], piece["length"], flags))
    assert len(expected) > 20
    with (
        qemu_nbd(tmp_path, "-f", "qcow2", "-r", str(disk)) as running,
        NbdClient.connect(running.address, "") as client,
    ):
        assert client.read_only
        assert client.extents(0, client.size) == expected


@pytest.mark.parametrize("ask_at_once", [True, False])
def test_a_dirty_bitmap_is_another_context(tmp_path: Path, ask_at_once: bool) -> None:
    needs("qemu-io", "qemu-utils")
    disk = tmp_path / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", disk, "64M")
    run("qemu-img", "bitmap", "--add", "-g", "65536", "-f", "qcow2", disk, "since")
    run("qemu-io", "-f", "qcow2", "-c", "write 1M 64k", "-c", "write 9M 128k", disk)
    context = "qemu:dirty-bitmap:since"
    with (
        qemu_nbd(tmp_path, "-f", "qcow2", "-r", "-B", "since", str(disk)) as running,
        NbdClient.connect(running.address, "", contexts=[context] if ask_at_once else []) as client,
    ):
        assert (context in client.contexts) == ask_at_once
        changed = [
            (offset, length) for offset, length, flags in client.extents(0, 64 * MIB, context) if flags
        ]
        assert changed == [(MIB, 64 * KIB), (9 * MIB, 128 * KIB)]
        assert client.extents(9 * MIB, 64 * KIB, context) == [(9 * MIB, 64 * KIB, 1)]
        with pytest.raises(KernelError, match="no block status") as unknown:
            client.extents(0, MIB, "qemu:dirty-bitmap:other")
        assert _kind(unknown) == "missing"
        assert client.extents(MIB, 64 * KIB) == [(MIB, 64 * KIB, 0)]


def test_any_buffer_will_do(tmp_path: Path) -> None:
    with nbdkit(tmp_path, "memory", "4M") as running, NbdClient.connect(running.address, "") as client:
        data = array.array("I", range(1000))
        client.write(3, data)
        assert client.read(3, 4000) == data.tobytes()
        client.write(1, memoryview(b"..abc..")[2:5])
        got = bytearray(b"-" * 8)
        client.read_into(0, memoryview(got)[1:6])
        assert got == b"-\0abc\0--"
        with pytest.raises(BufferError, match="read-only"):
            client.read_into(0, b"abc")
        client.write(0, b"")
        assert client.read(4 * MIB, 0) == b""


@pytest.mark.parametrize(
    ("errno", "kind"),
    [("EPERM", "read-only"), ("EIO", "io"), ("ENOMEM", "io"), ("EINVAL", "invalid"), ("ENOSPC", "no-space"),
     ("ESHUTDOWN", "stale")],
)  # fmt: skip
def test_errors_become_kinds(tmp_path: Path, errno: str, kind: str) -> None:
    trigger = tmp_path / "trigger"
    with (
        nbdkit(
            tmp_path,
            "--filter=error",
            "memory",
            "8M",
            f"error={errno}",
            "error-rate=100%",
            f"error-file={trigger}",
        ) as running,
        NbdClient.connect(running.address, "") as client,
    ):
        client.write(0, b"before")
        trigger.touch()
        calls: list[Callable[[], object]] = [
            lambda: client.read(0, 6),
            lambda: client.read(0, 3 * MIB),
            lambda: client.write(0, b"after!"),
            lambda: client.write(0, bytes(3 * MIB)),
            lambda: client.write_zeroes(0, 6),
            lambda: client.discard(0, 6),
            lambda: client.extents(0, 6),
        ]
        for call in calls:
            with pytest.raises(KernelError) as refused:
                call()
            assert _kind(refused) == kind
            assert "the NBD server could not" in str(refused.value)
        trigger.unlink()
        assert client.read(0, 6) == b"before"


def test_some_pieces_fail_and_the_connection_goes_on(tmp_path: Path) -> None:
    """One piece of several fails: so does the call, others are not disturbed."""
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(16 * MIB)
    with (
        nbdkit(
            tmp_path, "--filter=error", "file", str(disk), "error-pread=EIO", "error-pread-rate=10%"
        ) as running,
        NbdClient.connect(running.address, "") as client,
    ):

        def read(_: int) -> str:
            try:
                return "good" if client.read(0, 8 * MIB) == bytes(8 * MIB) else "wrong"
            except KernelError as error:
                return error.kind

        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(read, range(60)))
        assert set(outcomes) == {"good", "io"}


def test_ranges_must_lie_within(tmp_path: Path) -> None:
    with nbdkit(tmp_path, "memory", "1M") as running, NbdClient.connect(running.address, "") as client:
        calls: list[Callable[[], object]] = [
            lambda: client.read(MIB, 1),
            lambda: client.read(0, 1 << 60),
            lambda: client.read_into(MIB - 1, bytearray(2)),
            lambda: client.write(MIB - 1, b"ab"),
            lambda: client.discard((1 << 64) - 1, 1),
            lambda: client.write_zeroes(0, MIB + 1),
            lambda: client.extents(1, MIB),
        ]
        for call in calls:
            with pytest.raises(KernelError, match="beyond the end") as refused:
                call()
            assert _kind(refused) == "invalid"


def test_the_smallest_block_is_the_servers(tmp_path: Path) -> None:
    with (
        nbdkit(
            tmp_path, "--filter=blocksize-policy", "memory", "4M",
            "blocksize-minimum=4096", "blocksize-maximum=65536", "blocksize-error-policy=error",
        ) as running,
        NbdClient.connect(running.address, "") as client,
    ):  # fmt: skip
        data = random.Random(7).randbytes(MIB)
        client.write(4096, data)
        assert client.read(0, 2 * MIB) == bytes(4096) + data + bytes(MIB - 4096)
        client.write_zeroes(8192, MIB)
        with pytest.raises(KernelError, match="multiples of 4096") as refused:
            client.read(512, 4096)
        assert _kind(refused) == "invalid"


def test_a_read_only_disk_is_not_written(tmp_path: Path) -> None:
    with nbdkit(tmp_path, "-r", "memory", "1M") as running, NbdClient.connect(running.address, "") as client:
        assert client.read_only
        calls: list[Callable[[], object]] = [
            lambda: client.write(0, b"x"),
            lambda: client.discard(0, 1),
            lambda: client.write_zeroes(0, 1),
        ]
        for call in calls:
            with pytest.raises(KernelError, match="read-only") as refused:
                call()
            assert _kind(refused) == "read-only"
        client.flush()


def test_who_cannot_be_reached(tmp_path: Path) -> None:
    for address, kind in [
        (f"unix:{tmp_path / 'nothing'}", "missing"),
        (f"tcp:127.0.0.1:{free_port()}", "missing"),
        ("tcp:127.0.0.1", "invalid"),
        ("/just/a/path", "invalid"),
    ]:
        with pytest.raises(KernelError) as refused:
            NbdClient.connect(address, "")
        assert _kind(refused) == kind, address


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "mute"))
        mute.listen(0)
        # The first is connected and waits for a greeting, the others wait for a place in the queue.
        for _ in range(3):
            with pytest.raises(KernelError, match="in time") as refused:
                NbdClient.connect(f"unix:{tmp_path / 'mute'}", "", timeout_seconds=0.2)
            assert _kind(refused) == "io"


def test_an_export_that_is_not_there(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(MIB))
    with qemu_nbd(tmp_path, "-f", "raw", "-x", "good", str(disk)) as running:
        with pytest.raises(KernelError, match="bad") as refused:
            NbdClient.connect(running.address, "bad")
        assert _kind(refused) == "missing"
        with NbdClient.connect(running.address, "good") as client:
            assert client.size == MIB


def test_a_socket_deep_down(tmp_path: Path) -> None:
    """Longer than a socket's address may be; nbdkit itself only gets there by a relative path."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with nbdkit(tmp_path, "memory", "1M") as running:
        (tmp_path / "nbdkit.sock").rename(deep / "socket")
        with NbdClient.connect(f"unix:{deep / 'socket'}", "") as client:
            assert client.read(0, 1) == b"\0"
        assert running.process.poll() is None


def test_a_lost_server_fails_all_calls(tmp_path: Path) -> None:
    """Also those that wait for it."""
    with (
        nbdkit(tmp_path, "--filter=delay", "memory", "8M", "delay-read=3600") as running,
        NbdClient.connect(running.address, "") as client,
        ThreadPoolExecutor(4) as pool,
    ):
        client.write(0, b"x")
        waiting = [pool.submit(client.read, 0, length) for length in (1, 4096, 3 * MIB, 5 * MIB)]
        # Reads that are on their way by now wait for the server, others will find it gone.
        client.write(0, b"y")
        running.process.kill()
        for call in waiting:
            with pytest.raises(KernelError, match="lost the connection") as lost:
                call.result(timeout=60)
            assert _kind(lost) == "io"
        with pytest.raises(KernelError, match="lost the connection"):
            client.write(0, b"z")
        with pytest.raises(KernelError, match="lost the connection"):
            client.flush()


def test_closing_ends_what_waits(tmp_path: Path) -> None:
    with (
        nbdkit(tmp_path, "--filter=delay", "memory", "8M", "delay-read=3600") as running,
        ThreadPoolExecutor(2) as pool,
    ):
        client = NbdClient.connect(running.address, "")
        waiting = [pool.submit(client.read, 0, length) for length in (1, 3 * MIB)]
        client.write(0, b"x")
        client.close()
        client.close()
        for call in waiting:
            with pytest.raises(KernelError, match="was closed") as closed:
                call.result(timeout=60)
            assert _kind(closed) == "closed"
        with pytest.raises(KernelError, match="was closed"):
            client.read(0, 1)
        with pytest.raises(KernelError, match="was closed"):
            client.extents(0, 1, "other:context")


def test_a_client_that_goes_says_goodbye(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen(1)
        got: list[bytes] = []

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rwb") as stream:
                stream.write(b"NBDMAGICIHAVEOPT\0\3")
                stream.flush()
                stream.read(4)
                while True:
                    head = stream.read(16)
                    option, length = head[8:12], int.from_bytes(head[12:])
                    stream.read(length)
                    reply = b"\x00\x03\xe8\x89\x04\x55\x65\xa9" + option
                    if option != b"\0\0\0\7":
                        stream.write(reply + b"\x80\0\0\1\0\0\0\0")
                    else:
                        stream.write(reply + b"\0\0\0\3\0\0\0\x0c\0\0" + (MIB).to_bytes(8) + b"\0\1")
                        stream.write(reply + b"\0\0\0\1\0\0\0\0")
                    stream.flush()
                    if option == b"\0\0\0\7":
                        break
                got.append(stream.read())

        thread = threading.Thread(target=serve)
        thread.start()
        client = NbdClient.connect(f"unix:{tmp_path / 'socket'}", "")
        assert (client.size, client.dialect) == (MIB, "simple")
        del client
        thread.join(60)
        assert got == [b"\x25\x60\x95\x13\0\0\0\2" + bytes(20)]
