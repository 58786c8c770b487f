"""A daemon that goes in the middle of a session, and comes again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import cowshed
from cowshed.errors import IOFailure
from cowshed.local import LocalStore
from cowshed.remote import RemoteStore
from cowshed.remote.calls import Calls
from cowshed.remote.endpoint import UnixEndpoint
from cowshed.remote.http import Answer, Http
from cowshed.wire import sockets
from cowshed.wire.http import SOCKET_NAME
from remote.daemon import ServedStore
from remote.peer import Peer, Seen
from serve.daemons import serving

MIB = 1 << 20


def test_a_daemon_that_stops(tmp_path: Path) -> None:
    path = tmp_path / "store"
    daemon = ServedStore(path)
    with cowshed.open(path) as store:
        store.create("a", MIB)
        image = store.open("a")
        image.write(0, b"x")
        daemon.stop()
        for ask in (store.pools, lambda: store.remove("a"), lambda: image.size, image.lock_owner):
            with pytest.raises(IOFailure, match="cannot reach the daemon") as raised:
                ask()
            assert "open the store again" in str(raised.value.hint)
        for use in (lambda: image.read(0, 1), lambda: image.write(0, b"y"), image.flush):
            with pytest.raises(IOFailure, match="open the image again"):
                use()
        with pytest.raises(IOFailure):
            image.close()
        with cowshed.open(path) as direct:
            assert isinstance(direct, LocalStore)
            assert list(direct.images("rbd")) == ["a"]


def test_a_daemon_that_comes_again(tmp_path: Path) -> None:
    """What is asked of the store goes on with the new one; what was open is lost, and says so."""
    path = tmp_path / "store"
    daemon = ServedStore(path)
    with cowshed.open(path) as store:
        store.create("a", MIB)
        image = store.open("a")
        image.write(0, b"kept")
        image.flush()
        daemon.stop(tidy=False)
        for socket in (path / SOCKET_NAME, path / "nbd.sock"):
            socket.unlink()
        with ServedStore(path):
            store.create("b", MIB)
            assert list(store.images("rbd")) == ["a", "b"]
            for use in (
                lambda: image.size,
                lambda: image.diff(),
                image.lock_acquire,
                lambda: image.read(0, 1),
            ):
                with pytest.raises(IOFailure, match=r"open (it|the image) again"):
                    use()
            with pytest.raises(IOFailure):
                image.close()
            with cowshed.open(path) as again, again.open("a") as image:
                assert isinstance(again, RemoteStore)
                assert image.read(0, 4) == b"kept"


def test_a_daemon_that_is_killed_under_load(tmp_path: Path) -> None:
    """What was flushed is there; the sockets that are left behind hinder no one."""
    path = tmp_path / "store"
    with serving(path, "--create") as daemon, cowshed.open(path) as store:
        store.create("a", MIB)
        image = store.open("a")
        image.write(0, b"flushed")
        image.flush()
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        with pytest.raises(IOFailure, match="open the image again"):
            image.read(0, 1)
        assert (path / SOCKET_NAME).exists()
        with cowshed.open(path) as direct:
            assert isinstance(direct, LocalStore)
            assert direct.check() == []
            with direct.open("a") as same:
                assert same.read(0, 7) == b"flushed"
        with pytest.raises(IOFailure):
            image.close()


class Cutting:
    """Passes requests on to a daemon; hangs up instead of answering the first that `cut` wants."""

    def __init__(self, path: Path, cut: Callable[[Seen], bool]) -> None:
        self.path = path
        self.cut = cut
        self.cuts = 0
        self.instead: Callable[[], None] = lambda: None

    def __call__(self, seen: Seen) -> bytes | None:
        connection = HTTPConnection("localhost")
        connection.sock = sockets.connect(str(self.path))
        try:
            connection.request(seen.method, seen.path, seen.body or None, seen.headers)
            got = connection.getresponse()
            body = got.read()
        finally:
            connection.close()
        if self.cut(seen) and not self.cuts:
            self.cuts += 1
            self.instead()
            return None
        lines = [f"{name}: {value}" for name, value in got.getheaders() if name.lower() != "content-length"]
        head = "\r\n".join([f"HTTP/1.1 {got.status} x", *lines, f"Content-Length: {len(body)}"])
        return head.encode() + b"\r\n\r\n" + body


def through(path: Path) -> RemoteStore:
    return RemoteStore(Calls(Http(UnixEndpoint("/the/store", str(path)))))


@pytest.mark.parametrize("change", ["create", "remove", "snapshot", "rename", "resize"])
def test_a_change_whose_answer_is_lost_is_made_once(daemon: ServedStore, tmp_path: Path, change: str) -> None:
    """The second time it would be refused, or be another change: the key tells the daemon."""
    daemon.store.create("a", MIB)
    cutting = Cutting(daemon.path / SOCKET_NAME, lambda seen: seen.method != "GET")
    with Peer(tmp_path / "peer", cutting), through(tmp_path / "peer") as store:
        match change:
            case "create":
                store.create("b", MIB)
                assert list(store.images("rbd")) == ["a", "b"]
            case "remove":
                store.remove("a", progress=lambda *_: None)
                assert list(store.images("rbd")) == []
            case "snapshot":
                made = store.create_snapshot("a@1")
                assert store.snapshots("a") == [made]
            case "rename":
                store.rename("a", "b")
                assert list(store.images("rbd")) == ["b"]
            case "resize":
                store.resize("a", 2 * MIB)
                assert store.stat("a").size == 2 * MIB
    assert cutting.cuts == 1


def test_a_question_whose_answer_is_lost_is_asked_again(daemon: ServedStore, tmp_path: Path) -> None:
    cutting = Cutting(daemon.path / SOCKET_NAME, lambda seen: seen.path == "/v1/pools")
    with Peer(tmp_path / "peer", cutting), through(tmp_path / "peer") as store:
        assert [pool.name for pool in store.pools()] == ["rbd"]
    assert cutting.cuts == 1


def test_a_change_is_not_repeated_to_another_run_of_the_daemon(tmp_path: Path) -> None:
    """It knows no keys of the one before it: that would be AlreadyExists for an image that was made."""
    path = tmp_path / "store"
    daemons = [ServedStore(path)]
    cutting = Cutting(path / SOCKET_NAME, lambda seen: seen.method != "GET")

    def restart() -> None:
        daemons.pop().stop()
        daemons.append(ServedStore(path))

    cutting.instead = restart
    with Peer(tmp_path / "peer", cutting), through(tmp_path / "peer") as store:
        with pytest.raises(IOFailure, match="lost the connection") as raised:
            store.create("a", MIB)
        assert "not known" in str(raised.value.hint)
        assert list(store.images("rbd")) == ["a"]
    daemons.pop().stop()


def test_who_is_known_is_not_asked_again_and_who_came_since_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = Http.ask

    def noting(self: Http, method: str, path: str, *rest: Any, **more: Any) -> Answer:
        asked.append(path)
        return ask(self, method, path, *rest, **more)

    monkeypatch.setattr(Http, "ask", noting)
    path = tmp_path / "store"
    runs = []
    for round in range(2):
        daemon = ServedStore(path)
        for turn in range(3):
            with cowshed.open(path) as store:
                assert isinstance(store, RemoteStore)
                if not round and not turn:
                    store.create("a", MIB)
                asked.clear()
                assert list(store.images("rbd")) == ["a"]
                # The first one after another daemon came hears so by its answer.
                assert asked == ["/v1/images?pool=rbd&namespace="] + ["/v1/daemon"] * (
                    round == 1 and not turn
                )
                with store.open("a") as image:
                    image.write(0, b"x")
                runs.append(store.daemon.run)
        daemon.stop(tidy=False)
        for name in (SOCKET_NAME, "nbd.sock"):
            (path / name).unlink(missing_ok=True)
    assert runs[:3] == [runs[0]] * 3
    assert runs[3:] == [runs[3]] * 3
    assert runs[0] != runs[3]
