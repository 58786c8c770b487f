"""The service manager's protocol, with a real datagram socket and real passed descriptors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cowshed.errors import InvalidArgument
from cowshed.serve.systemd import Notifier, passed_sockets


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The service manager's ear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.settimeout(10)
        yield ear


def heard(ear: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in ear.recv(4096).decode().split("\n"))


def test_what_is_said(manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "PATH": "/bin"}
    notifier = Notifier(environment)
    assert environment == {"PATH": "/bin"}  # children of the daemon do not speak for it
    assert notifier.listening
    notifier.ready("serving\ntwo lines")
    assert heard(manager) == {"READY": "1", "STATUS": "serving two lines"}
    notifier.reloading()
    said = heard(manager)
    assert said.pop("RELOADING") == "1"
    assert int(said["MONOTONIC_USEC"]) > 0
    notifier.stopping("draining")
    assert heard(manager) == {"STOPPING": "1", "STATUS": "draining"}
    notifier.status("3 connections")
    assert heard(manager) == {"STATUS": "3 connections"}
    notifier.alive()
    assert heard(manager) == {"WATCHDOG": "1"}
    notifier.extend(1.5)
    assert heard(manager) == {"EXTEND_TIMEOUT_USEC": "1500000"}


def test_an_abstract_address() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        name = f"cowshed-test-{os.getpid()}"
        ear.bind(f"\0{name}")
        ear.settimeout(10)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).alive()
        assert heard(ear) == {"WATCHDOG": "1"}


def test_no_manager_and_one_that_is_gone(tmp_path: Path) -> None:
    nobody = Notifier({})
    assert not nobody.listening
    nobody.ready("x")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),  # meant for another process
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog(environment: dict[str, str], seconds: float | None) -> None:
    given = dict(environment)
    assert Notifier(given).watchdog_seconds == seconds
    assert given == {}


# What a child started with passed sockets sees: its own pid must be in LISTEN_PID, so it sets that itself.
CHILD = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
from cowshed.serve.systemd import passed_sockets
found = passed_sockets(os.environ, ("control", "nbd", "rest"))
assert not any(name.startswith("LISTEN_") for name in os.environ)
for name, sockets in found.items():
    for one in sockets:
        print(name, one.family.name, one.getsockname(), os.get_inheritable(one.fileno()))
"""


def test_sockets_are_taken_over_by_name(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control,
        socket.create_server(("127.0.0.1", 0)) as rest,
    ):
        control.bind(str(tmp_path / "c"))
        control.listen()

        def place() -> None:
            # Numbers 3 and 4, as a service manager has it; first away from there, so that none is lost.
            spare = [os.dup(os.dup(rest.fileno())), os.dup(control.fileno())]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        ended = subprocess.run(
            [sys.executable, "-c", CHILD],
            env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "rest:control"},
            preexec_fn=place,
            close_fds=False,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert ended.stdout.splitlines() == [
            f"control AF_UNIX {tmp_path / 'c'} False",
            f"rest AF_INET {rest.getsockname()} False",
        ]


def passed(fd: int, **environment: str) -> dict[str, list[socket.socket]]:
    given = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", **environment}
    return passed_sockets(given, ("control", "nbd"), first=fd)


def test_sockets_for_another_process_are_let_be() -> None:
    assert passed(0, LISTEN_PID="1", LISTEN_FDNAMES="control") == {"control": [], "nbd": []}
    assert passed_sockets({}, ("control",)) == {"control": []}


def test_what_is_no_listening_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        with pytest.raises(InvalidArgument, match="does not listen"):
            passed(os.dup(silent.fileno()), LISTEN_FDNAMES="nbd")
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with pytest.raises(InvalidArgument, match="'http'"):
            passed(silent.fileno(), LISTEN_FDNAMES="http")
        with pytest.raises(InvalidArgument, match="FileDescriptorName"):
            passed(silent.fileno())  # without names
    with (tmp_path / "file").open("w") as file, pytest.raises(InvalidArgument, match="no socket"):
        passed(file.fileno(), LISTEN_FDNAMES="nbd")
