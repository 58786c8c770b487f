"""The sockets that a daemon makes, finds and takes away."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from cowshed.errors import AlreadyExists, Busy, CowshedError, InvalidArgument, NotFound
from cowshed.serve.listeners import Listeners, UnixListener
from cowshed.serve.settings import load
from cowshed.wire import sockets

NOTHING_PASSED: dict[str, list[socket.socket]] = {"control": [], "nbd": [], "rest": []}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def answers(path: Path) -> bool:
    try:
        sockets.connect(str(path), 5.0).close()
    except OSError:
        return False
    return True


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


def test_it_is_the_owners_alone(place: Path) -> None:
    old = os.umask(0)
    try:
        made = UnixListener(str(place))
    finally:
        os.umask(old)
    assert mode(place) == 0o600
    assert answers(place)
    made.remove()
    assert not place.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to any group")
def test_it_is_a_groups_too(place: Path) -> None:
    made = UnixListener(str(place), group=12345)
    assert (mode(place), place.stat().st_gid) == (0o660, 12345)
    made.remove()


def test_a_long_path(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    made = UnixListener(str(deep / "s.sock"))
    assert answers(deep / "s.sock")
    made.remove()
    assert list(deep.iterdir()) == []


def test_what_a_killed_daemon_left_is_taken_over(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(place))
        gone.listen()
    assert place.exists()
    made = UnixListener(str(place))
    assert answers(place)
    made.remove()


def test_what_still_answers_is_let_be(place: Path) -> None:
    first = UnixListener(str(place))
    with pytest.raises(Busy, match="something else serves"):
        UnixListener(str(place))
    assert answers(place)
    first.remove()


def test_what_is_no_socket_is_let_be(place: Path) -> None:
    place.write_text("precious")
    with pytest.raises(AlreadyExists, match="no socket"):
        UnixListener(str(place))
    assert place.read_text() == "precious"


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="making the socket"):
        UnixListener(str(tmp_path / "gone" / "s.sock"))


def test_only_its_own_path_is_taken_away(place: Path) -> None:
    first = UnixListener(str(place))
    place.unlink()
    second = UnixListener(str(place))
    first.remove()
    assert answers(place)
    second.remove()


def test_a_daemons_sockets(tmp_path: Path) -> None:
    settings = load(str(tmp_path), {"listen": "127.0.0.1:0", "nbd_listen": "[::1]:0", "insecure": True})
    with Listeners(settings, NOTHING_PASSED) as made:
        assert {each.name for each in tmp_path.iterdir()} == {"daemon.sock", "nbd.sock"}
        (api,), (nbd,) = made.api, made.nbd_tcp
        port = nbd.getsockname()[1]
        assert port
        assert made.nbd_addresses == (f"unix:{tmp_path}/nbd.sock", f"tcp:[::1]:{port}")
        socket.create_connection(api.getsockname()[:2], 5.0).close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("::1", port), 5.0)


def test_all_or_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = load(str(tmp_path), {"listen": where, "insecure": True})
        with pytest.raises(CowshedError, match=f"listening on {where}"):
            Listeners(settings, NOTHING_PASSED)
    assert list(tmp_path.iterdir()) == []


def test_passed_sockets_stand_in(tmp_path: Path) -> None:
    given = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for number, one in enumerate(given):
        one.bind(str(tmp_path / str(number)))
        one.listen()
    store = tmp_path / "store"
    store.mkdir()
    with Listeners(load(str(store), {}), {"control": [given[0]], "nbd": [given[1]], "rest": []}) as made:
        assert (made.control, made.nbd) == ([given[0]], [given[1]])
        assert made.nbd_addresses == (f"unix:{tmp_path}/1",)
        assert list(store.iterdir()) == []
    # They are the service manager's, and so are their paths.
    assert {each.name for each in tmp_path.iterdir()} == {"0", "1", "store"}


@pytest.mark.parametrize("label", ["control", "nbd", "rest"])
def test_a_passed_socket_opens_no_back_door(tmp_path: Path, label: str) -> None:
    # TCP without TLS: as the control socket never, for the others only where `--insecure` says so.
    settings = load(str(tmp_path), {})
    with pytest.raises(InvalidArgument, match=label):
        Listeners(settings, {**NOTHING_PASSED, label: [socket.create_server(("127.0.0.1", 0))]})
    insecure = load(str(tmp_path), {"insecure": True})
    passed = {**NOTHING_PASSED, label: [socket.create_server(("127.0.0.1", 0))]}
    if label == "control":
        with pytest.raises(InvalidArgument, match="Unix socket"):
            Listeners(insecure, passed)
    else:
        with Listeners(insecure, passed) as made:
            assert passed[label][0] in (*made.nbd_tcp, *made.api)
    with pytest.raises(InvalidArgument, match="loopback"):
        Listeners(insecure, {**NOTHING_PASSED, "rest": [socket.create_server(("0.0.0.0", 0))]})
