"""What the NBD server is told at handshakes; then with real clients of NBD."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cowshed._kernel import NbdServer
from cowshed.local import LocalStore
from cowshed.serve.exports import Exports
from cowshed.serve.handles import Handles
from cowshed.serve.principal import OWNER

MIB = 1 << 20
PEER = "pid 1 uid 0"


@pytest.fixture(autouse=True)
def images(store: LocalStore) -> None:
    store.create_pool("p")
    store.create_namespace("p", "n")
    for spec in ("a", "p/n/b c"):
        store.create(spec, MIB)
        store.create_snapshot(f"{spec}@one")
        store.create_snapshot(f"{spec}@two")


@pytest.fixture
def handles() -> Handles:
    return Handles()


@pytest.fixture
def exports(store: LocalStore, handles: Handles) -> Exports:
    return Exports(store, handles)


def test_by_name(store: LocalStore, exports: Exports) -> None:
    export = exports.open("p/n/b c", PEER)
    assert (export.read_only, export.label, export.description) == (False, "p/n/b c", "p/n/b c")
    (watcher,) = store.watchers("p/n/b c")
    assert watcher.address == PEER
    assert watcher.client.startswith("client.")
    assert watcher.client != store.client
    again = exports.open("p/n/b c", PEER)
    assert again.me != export.me
    assert again.version == export.version
    assert len({each.client for each in store.watchers("p/n/b c")}) == 2
    for each in (export, again):
        exports.close(each, None)
    assert store.watchers("p/n/b c") == []


def test_a_snapshot_is_read_only(store: LocalStore, exports: Exports) -> None:
    export = exports.open("a@one", PEER)
    assert export.read_only
    assert export.version == store.snapshots("a")[0].id
    assert store.watchers("a") == []
    exports.close(export, None)


@pytest.mark.parametrize(
    "name", ["", "none", "a@none", "a//b", "p/n/x/y", ".handle/", ".handle/00", "a@", "\x00"]
)
def test_unknown_names(exports: Exports, name: str) -> None:
    with pytest.raises(LookupError) as caught:
        exports.open(name, PEER)
    assert len(str(caught.value)) > 10


def test_names(store: LocalStore, handles: Handles, exports: Exports) -> None:
    assert [name for name, _ in exports.names()] == ["p/n/b c", "rbd/a"]
    hidden = Exports(store, handles, hidden=True)
    assert hidden.names() == []
    hidden.close(hidden.open("a", PEER), None)
    closed = Exports(store, handles, by_name=False)
    assert closed.names() == []
    with pytest.raises(PermissionError):
        closed.open("a", PEER)


def test_snapshots_to_compare_with(store: LocalStore, exports: Exports) -> None:
    ids = {each.name: each.id for each in store.snapshots("a")}
    head, one = exports.open("a", PEER), exports.open("a@one", PEER)
    assert (exports.snapshots(head), exports.snapshots(one)) == (["one", "two"], ["one"])
    assert exports.snapshot_version(head, "two") == ids["two"]
    assert exports.snapshot_version(one, "one") == ids["one"]
    for export, name in ((head, "none"), (one, "two")):
        with pytest.raises(LookupError):
            exports.snapshot_version(export, name)
    for export in (head, one):
        exports.close(export, None)


def test_a_handle(store: LocalStore, handles: Handles, exports: Exports) -> None:
    handle = handles.open(store, OWNER, "a")
    export = exports.open(handle.export, PEER)
    assert (export.label, export.me, handle.connections) == ("rbd/a", handle.image.number, 1)
    assert len(store.watchers("a")) == 1
    exports.close(export, None)
    assert handle.connections == 0
    handles.end(handle)
    with pytest.raises(LookupError, match="has ended"):
        exports.open(handle.export, PEER)


def test_a_fault_is_logged(exports: Exports, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "cowshed.serve"):
        exports.close(exports.open("a", PEER), "a request of 5 GiB")
    assert "rbd/a" in caplog.text
    assert "5 GiB" in caplog.text


# --- with real clients

needs_qemu = pytest.mark.skipif(shutil.which("qemu-io") is None, reason="qemu-io is not installed")
needs_nbdinfo = pytest.mark.skipif(shutil.which("nbdinfo") is None, reason="nbdinfo is not installed")


@pytest.fixture
def socket(store: LocalStore, exports: Exports, tmp_path: Path) -> Iterator[Path]:
    server = NbdServer(store._kernel, exports)
    server.listen_unix(tmp_path / "nbd")
    yield tmp_path / "nbd"
    assert server.stop(10)


def until(true: Callable[[], bool]) -> None:
    """A connection is over for the server a moment after it is for the client."""
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def qemu_io(socket: Path, export: str, *commands: str) -> subprocess.CompletedProcess[str]:
    options = [part for command in commands for part in ("-c", command)]
    command = ["qemu-io", "-f", "raw", *options, f"nbd+unix:///{export}?socket={socket}"]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@needs_qemu
def test_writing_through_a_handle(store: LocalStore, handles: Handles, socket: Path) -> None:
    before = store.stat("a").modified
    handle = handles.open(store, OWNER, "a")
    # qemu asks for contexts, and so about the export, before it uses it; and then comes again.
    for pattern in (1, 2):
        done = qemu_io(socket, handle.export, f"write -P {pattern} 4096 8192", "flush")
        assert done.returncode == 0, done
    with store.open("a") as image:
        assert image.read(4096, 8192) == b"\2" * 8192
    until(lambda: handle.connections == 0)
    handles.end(handle)
    assert store.stat("a").modified > before
    assert qemu_io(socket, handle.export, "read 0 512").returncode != 0


@needs_qemu
def test_what_is_written_after_the_handle_was_closed(
    store: LocalStore, handles: Handles, socket: Path
) -> None:
    handle = handles.open(store, OWNER, "a")
    with subprocess.Popen(
        ["qemu-io", "-f", "raw", f"nbd+unix:///{handle.export}?socket={socket}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as shell:
        assert shell.stdin is not None
        until(lambda: handle.connections == 1)
        handles.end(handle)
        before = store.stat("a").modified
        shell.communicate("write 0 4096\nquit\n", timeout=30)
    until(lambda: store.stat("a").modified > before)


@needs_qemu
def test_the_exclusive_lock_fences(store: LocalStore, handles: Handles, socket: Path) -> None:
    mine, other = (handles.open(store, OWNER, "a") for _ in range(2))
    mine.image.lock_acquire()
    for export in (other.export, "a"):
        refused = qemu_io(socket, export, "write -P 7 0 4096")
        assert "Operation not permitted" in refused.stdout + refused.stderr, refused
        assert qemu_io(socket, export, "read -P 0 0 4096").returncode == 0
    assert qemu_io(socket, mine.export, "write -P 8 0 4096").returncode == 0
    # The lock is let go and taken while another is connected.
    with subprocess.Popen(
        ["qemu-io", "-f", "raw", f"nbd+unix:///a?socket={socket}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as shell:
        assert shell.stdin is not None
        assert shell.stdout is not None

        def said(command: str) -> str:
            assert shell.stdin is not None
            assert shell.stdout is not None
            shell.stdin.write(f"{command}\n")
            shell.stdin.flush()
            while "4096" not in (line := shell.stdout.readline()) and "failed" not in line:
                assert line
            return line

        assert "not permitted" in said("write -P 9 0 4096")
        mine.image.lock_release()
        assert "wrote" in said("write -P 9 0 4096")
        other.image.lock_acquire()
        assert "not permitted" in said("write -P 9 0 4096")
        handles.end(other)
        assert "wrote" in said("write -P 9 0 4096")
        shell.stdin.write("quit\n")
        shell.stdin.flush()
        shell.wait(20)


@needs_qemu
def test_an_automatic_lock_goes_over_to_qemu(store: LocalStore, handles: Handles, socket: Path) -> None:
    mine = handles.open(store, OWNER, "a")
    for export in ("a", handles.open(store, OWNER, "a").export):
        mine.image.lock_acquire(automatic=True)
        assert qemu_io(socket, export, "write -P 7 0 4096").returncode == 0
        assert not mine.image.is_lock_owner
        mine.image.write(0, b"m" * 4096)
        mine.image.lock_acquire(automatic=True)
        assert mine.image.is_lock_owner
        assert qemu_io(socket, export, "discard 0 4096").returncode == 0
        assert not mine.image.is_lock_owner
    assert mine.image.read(0, 4096) == bytes(4096)


@needs_nbdinfo
def test_asking_changes_nothing(store: LocalStore, socket: Path) -> None:
    before = store.stat("a").modified
    uri = f"nbd+unix:///?socket={socket}"
    listed = subprocess.run(["nbdinfo", "--list", "--json", uri], check=True, capture_output=True, text=True)
    found = json.loads(listed.stdout)["exports"]
    assert [each["export-name"] for each in found] == ["p/n/b c", "rbd/a"]
    assert found[1]["export-size"] == MIB
    until(lambda: store.watchers("a") == [])
    assert store.stat("a").modified == before


@needs_nbdinfo
def test_a_difference_by_the_name_of_a_snapshot(store: LocalStore, socket: Path) -> None:
    with store.open("a") as image:
        image.write(8192, b"x" * 4096)
    shown = subprocess.run(
        ["nbdinfo", "--map=cowshed:diff:two", "--json", f"nbd+unix:///a?socket={socket}"],
        check=True,
        capture_output=True,
        text=True,
    )
    pieces = [(each["offset"], each["length"], each["type"] & 1) for each in json.loads(shown.stdout)]
    assert [piece[:2] for piece in pieces if piece[2] != pieces[0][2]] == [(8192, 4096)]
