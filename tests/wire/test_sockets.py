"""Sockets at paths of any length."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cowshed.errors import InvalidArgument
from cowshed.wire import sockets


@pytest.mark.parametrize("depth", [0, 30, 250])
def test_a_path_of_any_length(tmp_path: Path, depth: int) -> None:
    room = tmp_path / ("d" * depth) / "store"
    room.mkdir(parents=True)
    path = str(room / "daemon.sock")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with sockets.bind(path) as server:
        server.listen()
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        with sockets.connect(path, 5.0) as client:
            there, _ = server.accept()
            with there:
                client.sendall(b"x")
                assert there.recv(1) == b"x"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_mode_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        sockets.bind(str(tmp_path / "s"), mode=0o660).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660


def test_what_cannot_be_reached(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sockets.connect(str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        sockets.connect(str(tmp_path / ("d" * 120) / "none"))
    with pytest.raises(InvalidArgument, match="too long"):
        sockets.bind(str(tmp_path / ("n" * 120)))
    path = str(tmp_path / "taken")
    sockets.bind(path).close()
    with pytest.raises(ConnectionRefusedError):
        sockets.connect(path)
    with pytest.raises(OSError, match="in use"):
        sockets.bind(path)
