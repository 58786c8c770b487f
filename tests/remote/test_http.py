"""Connections that are kept, closed, cut and refused; against a scripted peer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from cowshed.errors import IOFailure
from cowshed.remote.endpoint import TcpEndpoint, UnixEndpoint
from cowshed.remote.http import Http, _Left
from remote.peer import Peer, Seen, answer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


@pytest.fixture
def http(path: Path) -> Iterator[Http]:
    http = Http(UnixEndpoint("/the/store", str(path)))
    yield http
    http.close()


def echo(seen: Seen) -> bytes:
    return answer(f"{seen.method} {seen.path} ".encode() + seen.body)


def test_one_connection_serves_many_questions(path: Path, http: Http) -> None:
    with Peer(path, echo) as peer:
        assert http.ask("GET", "/a?b=c").body == b"GET /a?b=c "
        assert http.ask("POST", "/d", b"{}").body == b"POST /d {}"
        assert http.ask("PUT", "/e", b"").body == b"PUT /e "
        assert [seen.connection for seen in peer.seen] == [0, 0, 0]
        assert peer.seen[1].headers["Content-Type"] == "application/json"


def test_many_threads_ask_at_once(path: Path, http: Http) -> None:
    """Nobody gets the answer to another's question, and no more connections are made than are needed."""
    threads, rounds = 8, 50
    wrong: list[object] = []

    def ask(thread: int) -> None:
        for i in range(rounds):
            body = http.ask("GET", f"/{thread}/{i}").body
            if body != f"GET /{thread}/{i} ".encode():
                wrong.append(body)

    with Peer(path, echo) as peer:
        workers = [threading.Thread(target=ask, args=(i,)) for i in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert wrong == []
        assert len(peer.seen) == threads * rounds
        assert len({seen.connection for seen in peer.seen}) <= threads


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_connection_that_was_closed_meanwhile_is_not_used(path: Path, http: Http, repeatable: bool) -> None:
    with Peer(path, echo) as peer:
        http.ask("GET", "/1")
        peer.hang_up()
        assert http.ask("POST", "/2", b"x", repeatable=repeatable).body == b"POST /2 x"
        assert [(seen.connection, seen.path) for seen in peer.seen] == [(0, "/1"), (1, "/2")]


def test_what_does_no_harm_twice_is_sent_again(path: Path, http: Http) -> None:
    def script(seen: Seen) -> bytes | None:
        return None if seen.connection == 0 else echo(seen)

    with Peer(path, script) as peer:
        assert http.ask("GET", "/1", repeatable=True).body == b"GET /1 "
        assert [(seen.connection, seen.path) for seen in peer.seen] == [(0, "/1"), (1, "/1")]


def test_it_is_sent_twice_at_most(path: Path, http: Http) -> None:
    with Peer(path, lambda seen: None) as peer:
        with pytest.raises(IOFailure, match="lost the connection to the daemon of '/the/store'") as raised:
            http.ask("GET", "/1", repeatable=True)
        assert raised.value.hint == "open the store again"
        assert len(peer.seen) == 2


def test_what_may_do_harm_twice_is_not_sent_again(path: Path, http: Http) -> None:
    with Peer(path, lambda seen: None) as peer:
        with pytest.raises(IOFailure, match="not known") as raised:
            http.ask("DELETE", "/1")
        assert isinstance(raised.value.__cause__, ConnectionError)
        assert len(peer.seen) == 1


def test_an_answer_that_is_cut_short(path: Path, http: Http) -> None:
    whole = answer(b"0123456789")

    def script(seen: Seen) -> bytes:
        return whole[:-3].replace(b"Content-Length", b"Content-length")  # the peer's sign to hang up

    with Peer(path, script), pytest.raises(IOFailure, match="lost the connection"):
        http.ask("POST", "/1")


def test_a_peer_that_speaks_something_else(path: Path, http: Http) -> None:
    with Peer(path, lambda seen: b"220 mail.example ESMTP\r\n"), pytest.raises(IOFailure, match="no daemon"):
        http.ask("GET", "/1")


def test_a_peer_that_says_nothing_in_time(path: Path, http: Http) -> None:
    stop = threading.Event()

    def script(seen: Seen) -> None:
        stop.wait(30)

    with Peer(path, script):
        with pytest.raises(IOFailure, match="does not answer"):
            http.ask("GET", "/1", timeout=0.05)
        stop.set()


def test_the_time_limit_is_that_of_one_question(path: Path, http: Http) -> None:
    with Peer(path, echo):
        http.ask("GET", "/1", timeout=5)
        (kept,) = http._idle
        http.ask("GET", "/2")
        assert kept[1].sock.gettimeout() is None


def test_a_connection_with_an_answer_half_read_is_not_used_again(
    path: Path, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = threading.Event()

    def script(seen: Seen) -> bytes:
        if seen.path == "/2":
            late.wait(30)
        return echo(seen)

    with Peer(path, script) as peer:
        http.ask("GET", "/1")
        with monkeypatch.context() as patch:

            def interrupted(*_: object) -> None:
                raise KeyboardInterrupt

            patch.setattr("http.client.HTTPConnection.getresponse", interrupted)
            with pytest.raises(KeyboardInterrupt):
                http.ask("GET", "/2")
        assert http.ask("GET", "/3").body == b"GET /3 "
        # The peer may come to note the second question only after the third.
        assert [seen.connection for seen in peer.seen if seen.path == "/3"] == [1]
        late.set()


def test_no_one_listens(path: Path, http: Http) -> None:
    assert http.dial() is False
    with pytest.raises(IOFailure, match="cannot reach the daemon of '/the/store'"):
        http.ask("GET", "/1")
    with Peer(path, echo) as peer:
        assert http.dial() is True
        http.ask("GET", "/1")
        assert [seen.connection for seen in peer.seen] == [0]
    assert http.dial() is False  # the file is there still
    with pytest.raises(IOFailure, match="open the store again"):
        http.ask("GET", "/1")


def test_a_path_of_any_length(tmp_path: Path) -> None:
    room = tmp_path / ("x" * 100)
    room.mkdir()
    with Peer(room / "socket", echo):
        http = Http(UnixEndpoint("/the/store", str(room / "socket")))
        assert http.ask("GET", "/1").body == b"GET /1 "
        http.close()


def test_close_leaves_connections_to_the_next_client(path: Path, http: Http) -> None:
    """Drivers make a client for each operation. What is left is two at most, and not for long."""
    with Peer(path, echo) as peer:
        http._idle = [(time.monotonic(), http._connect()) for _ in range(4)]
        first, second, *left = [connection for _, connection in http._idle]
        http.close()
        assert http._idle == []
        assert [first.sock, second.sock] == [None, None]
        other = Http(http.endpoint)
        assert other.dial() is True
        other.ask("GET", "/1")
        assert [connection for _, connection in other._idle] == left
        assert [seen.connection for seen in peer.seen] == [3]
        # Whoever closes looks for what nobody came for, at whatever endpoint.
        other._idle = [(time.monotonic() - 3600, connection) for _, connection in other._idle]
        other.close()
        assert all(connection.sock is None for connection in left)


def test_what_a_daemon_of_the_past_left_is_no_daemon(path: Path, http: Http) -> None:
    with Peer(path, echo):
        http.ask("GET", "/1")
        http.close()
    other = Http(http.endpoint)
    assert other.dial() is False
    path.unlink()
    with Peer(path, echo) as peer:
        assert other.dial() is True
        other.ask("POST", "/2", b"x")
        assert [seen.connection for seen in peer.seen] == [0]
        other.close()


def test_whoever_has_another_token_gets_another_connection(path: Path) -> None:
    one = TcpEndpoint("t", "127.0.0.1", 1, tls=False, token="one")
    two = TcpEndpoint("t", "127.0.0.1", 1, tls=False, token="two")
    assert one != two
    left, kept = _Left(), HTTPConnection("127.0.0.1", 1)
    left.leave(one, [(time.monotonic(), kept)])
    assert left.take(two) == []
    left.leave(two, [])
    left.forget()  # as a fork does
    assert left.take(one) == []


@pytest.mark.parametrize("body", [None, b"", b"x" * 100_000])
def test_a_question_leaves_in_one_piece(
    path: Path, http: Http, body: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces: list[bytes] = []
    send = HTTPConnection.send

    def noted(self: HTTPConnection, data: bytes) -> None:
        pieces.append(data)
        send(self, data)

    with Peer(path, echo), monkeypatch.context() as patch:
        patch.setattr(HTTPConnection, "send", noted)
        assert http.ask("POST", "/1", body).body == b"POST /1 " + (body or b"")
    assert len(pieces) == 1
