"""Which engine a path is opened with: its daemon where one answers, and else this process itself."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

import cowshed
from cowshed.errors import IOFailure, PermissionDenied, StoreLocked, UnsupportedTarget
from cowshed.local import LocalStore
from cowshed.opening import open_directly
from cowshed.remote import RemoteStore
from cowshed.store import Store
from cowshed.wire.http import PROTOCOL, SOCKET_NAME
from remote.peer import Peer, Script, Seen, answer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    cowshed.init(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def socket(path: Path) -> Path:
    return path / SOCKET_NAME


HELLO = answer(
    json.dumps(
        {"protocol": PROTOCOL, "version": "1", "target": "/store", "pid": 1, "run": "1", "nbd": []}
    ).encode()
)


def hello(seen: Seen) -> bytes:
    return HELLO if seen.path == "/v1/daemon" else answer(b"[]")


def test_a_daemon_that_answers_is_used(path: Path, socket: Path) -> None:
    with Peer(socket, hello) as peer, cowshed.open(path) as store:
        assert isinstance(store, RemoteStore)
        assert store.target == str(path)
        assert store.pools() == []
        assert [(seen.connection, seen.path) for seen in peer.seen] == [(0, "/v1/daemon"), (0, "/v1/pools")]


def test_a_socket_that_a_killed_daemon_left_hinders_no_one(path: Path, socket: Path) -> None:
    Peer(socket, hello).stop()
    assert socket.exists()
    with cowshed.open(path) as store:
        assert isinstance(store, LocalStore)
    socket.unlink()
    socket.write_text("no socket at all")
    with cowshed.open(path) as store:
        assert isinstance(store, LocalStore)


def test_a_daemon_that_is_about_to_go_hinders_no_one(path: Path, socket: Path) -> None:
    with Peer(socket, lambda seen: None), cowshed.open(path) as store:
        assert isinstance(store, LocalStore)


def test_what_is_opened_directly_asks_no_daemon(path: Path, socket: Path) -> None:
    with Peer(socket, hello) as peer, open_directly(path) as store:
        assert isinstance(store, LocalStore)
        assert peer.seen == []
    with pytest.raises(UnsupportedTarget, match="give the path"):
        open_directly("cowshed://host:1")


def test_init_asks_no_daemon(tmp_path: Path) -> None:
    """Making a store opens it: whoever listens in the directory cannot be of that store."""
    cowshed.init(tmp_path / "new")
    cowshed.open(tmp_path / "other", create=True).close()


def speaking(protocol: int) -> Script:
    return lambda seen: HELLO.replace(f"Protocol: {PROTOCOL}".encode(), f"Protocol: {protocol}".encode())


def test_a_daemon_of_another_version_is_refused_in_words(path: Path, socket: Path) -> None:
    with Peer(socket, speaking(7)), pytest.raises(UnsupportedTarget, match="protocol 7") as raised:
        cowshed.open(path)
    assert "start the daemon anew" in str(raised.value.hint)


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"220 ESMTP\r\n"])
def test_something_else_that_listens_there_is_named(path: Path, socket: Path, said: bytes) -> None:
    with Peer(socket, lambda seen: said), pytest.raises(IOFailure, match="no daemon of cowshed"):
        cowshed.open(path)


def test_a_socket_that_is_not_for_this_user(
    path: Path, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In root's tests the system refuses nothing, so it is made to."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with Peer(socket, hello):
        monkeypatch.setattr("cowshed.wire.sockets.connect", refuse)
        with pytest.raises(PermissionDenied, match="not for this user"):
            cowshed.open(path)


def test_a_daemon_that_is_just_starting_is_waited_for(path: Path, socket: Path) -> None:
    """It owns the store before it listens; who waits looks for the socket, too."""
    found: list[Store] = []

    def wait() -> None:
        found.append(cowshed.open(path, wait_seconds=600))

    with open_directly(path):
        with pytest.raises(StoreLocked):
            cowshed.open(path)
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        waiting.join(0.3)
        assert found == []
        with Peer(socket, hello):
            waiting.join(60)
            assert [type(store) for store in found] == [RemoteStore]
            found[0].close()


def test_an_owner_that_is_no_daemon_is_waited_for(path: Path) -> None:
    owner = open_directly(path)
    timer = threading.Timer(0.3, owner.close)
    timer.start()
    with cowshed.open(path, wait_seconds=30) as store:
        assert isinstance(store, LocalStore)
    timer.join()


def test_the_wait_ends(path: Path) -> None:
    with open_directly(path), pytest.raises(StoreLocked, match=str(os.getpid())):
        cowshed.open(path, wait_seconds=0.25)


def test_a_path_of_any_length(tmp_path: Path) -> None:
    path = tmp_path / ("long" * 30)
    cowshed.init(path)
    with Peer(path / SOCKET_NAME, hello), cowshed.open(path) as store:
        assert isinstance(store, RemoteStore)
