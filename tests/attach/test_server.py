"""Where the NBD server is: addresses as text, and the socket of a store's daemon."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cowshed.attach.server import Server, Tls, parse_server, server_of, tls_files, with_tls
from cowshed.errors import InvalidArgument, NotFound, PermissionDenied


@pytest.mark.parametrize(
    ("text", "server", "address"),
    [
        ("unix:/a/b c", Server(path="/a/b c"), "unix:/a/b c"),
        ("tcp:host:1", Server(host="host", port=1), "tcp:host:1"),
        ("tcp:host", Server(host="host", port=10809), "tcp:host:10809"),
        ("tcp:[fe80::1]:99", Server(host="fe80::1", port=99), "tcp:[fe80::1]:99"),
        ("tcp:[::1]", Server(host="::1", port=10809), "tcp:[::1]:10809"),
    ],
)
def test_addresses(text: str, server: Server, address: str) -> None:
    assert parse_server(text) == server
    assert server.address == address
    assert parse_server(address) == server


def test_a_path_is_made_absolute() -> None:
    assert parse_server("unix:x").path == str(Path.cwd() / "x")


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "unix:",
        "tcp:",
        "nbd://h",
        "/a/b",
        "tcp::1",
        "tcp:h:",
        "tcp:h:0",
        "tcp:h:65536",
        "tcp:h:x",
        "tcp:h:²",
        "tcp:::1:5",
        "tcp:[::1",
        "tcp:[::1]5",
        "tcp:[::1]x:5",
        "tcp:[]:5",
        "tcp:h]:5",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_server(text)


def test_the_socket_of_a_store(tmp_path: Path) -> None:
    store = tmp_path / ("long" * 30)
    store.mkdir()
    where = store / "nbd.sock"
    with pytest.raises(NotFound, match="no daemon serves") as missing:
        server_of(str(store))
    assert f"cowshed --store {store} serve" in (missing.value.hint or "")
    folder = os.open(store, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{folder}/nbd.sock")
        with pytest.raises(NotFound, match="no daemon serves"):
            server_of(str(store))
        listener.listen()
        assert server_of(str(store)) == Server(path=str(where))
    os.close(folder)
    # Left behind by a daemon that was killed.
    assert where.exists()
    with pytest.raises(NotFound, match="no daemon serves"):
        server_of(str(store))


def test_where_one_may_not_look(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may look everywhere")
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(PermissionDenied):
        server_of(str(tmp_path / "closed"))


def test_a_target_elsewhere() -> None:
    with pytest.raises(InvalidArgument, match="not known") as unknown:
        server_of("cowshed://host:99")
    assert "--nbd" in (unknown.value.hint or "")


def test_files_for_tls(tmp_path: Path) -> None:
    plain = parse_server("tcp:h")
    assert with_tls(plain, None) == plain
    assert tls_files(plain) is None
    with pytest.raises(NotFound, match=r"ca-cert\.pem"):
        with_tls(plain, str(tmp_path))
    (tmp_path / "ca-cert.pem").touch()
    server = with_tls(plain, str(tmp_path))
    assert tls_files(server) == Tls(str(tmp_path / "ca-cert.pem"), None, None)
    (tmp_path / "client-cert.pem").touch()
    with pytest.raises(NotFound, match=r"client-key\.pem"):
        with_tls(plain, str(tmp_path))
    (tmp_path / "client-key.pem").touch()
    certificate, key = str(tmp_path / "client-cert.pem"), str(tmp_path / "client-key.pem")
    assert tls_files(server) == Tls(str(tmp_path / "ca-cert.pem"), certificate, key)
    with pytest.raises(InvalidArgument, match="no TLS"):
        with_tls(parse_server("unix:/x"), str(tmp_path))
