"""Linux's own NBD client: which device it takes, and that nbd-client understands what it is told.

Where Linux has the module, test_devices maps by it too. Here it is stood in for: by a directory like
/sys/block, and a program that writes the file there which says that a device is connected.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from attach.host import tool
from cowshed._kernel import NbdServer
from cowshed.attach import kernel_nbd, loop
from cowshed.attach.server import Server
from cowshed.errors import Busy, InvalidArgument, IOFailure
from cowshed.local import LocalStore

FAKE = """#!/bin/sh
echo "$@" >> {room}/calls
if [ "$1" = -d ]; then rm {room}/block/${{2#/dev/}}/pid; exit; fi
[ -e {room}/refuse ] && {{ echo "Error: Server said: no such export" >&2; exit 1; }}
echo 42 > {room}/block/${{3#/dev/}}/pid
[ -e {room}/steal ] && {{ rm {room}/steal; echo "in use" >&2; exit 1; }}
exit 0
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number in (0, 1, 10, 2):
        (tmp_path / "block" / f"nbd{number}").mkdir(parents=True)
    (tmp_path / "block" / "loop0").mkdir()
    program = tmp_path / "nbd-client"
    program.write_text(FAKE.format(room=tmp_path))
    program.chmod(0o755)
    monkeypatch.setattr(kernel_nbd, "_BLOCKS", tmp_path / "block")
    monkeypatch.setattr(loop, "_SBIN", str(tmp_path) + ":/bin:/usr/bin")
    return tmp_path


SERVER = Server(path="/s")


def test_the_first_free_device_is_taken(room: Path) -> None:
    (room / "block" / "nbd0" / "pid").write_text("7\n")
    assert kernel_nbd.missing() is None
    assert kernel_nbd.connected("/dev/nbd0") == 7
    assert kernel_nbd.connected("/dev/nbd1") == 0
    assert kernel_nbd.attach("rbd/vm1", SERVER, read_only=False) == "/dev/nbd1"
    assert kernel_nbd.attach("rbd/vm1", SERVER, read_only=True) == "/dev/nbd2"
    assert (room / "calls").read_text().splitlines() == [
        "-unix /s /dev/nbd1 -name rbd/vm1",
        "-unix /s /dev/nbd2 -name rbd/vm1 -readonly",
    ]
    assert kernel_nbd.connected("/dev/nbd2") == 42
    kernel_nbd.detach("/dev/nbd2")
    assert kernel_nbd.connected("/dev/nbd2") == 0


def test_somebody_else_was_quicker(room: Path) -> None:
    (room / "steal").touch()
    assert kernel_nbd.attach("rbd/vm1", SERVER, read_only=False) == "/dev/nbd1"


def test_no_device_is_free(room: Path) -> None:
    for entry in (room / "block").glob("nbd*"):
        (entry / "pid").write_text("7\n")
    with pytest.raises(Busy, match="all NBD devices are in use"):
        kernel_nbd.attach("rbd/vm1", SERVER, read_only=False)


def test_what_the_server_says_is_passed_on(room: Path) -> None:
    (room / "refuse").touch()
    with pytest.raises(IOFailure, match="Server said: no such export"):
        kernel_nbd.attach("rbd/vm1", SERVER, read_only=False)
    assert len((room / "calls").read_text().splitlines()) == 1


def test_no_module(room: Path) -> None:
    for entry in (room / "block").glob("nbd*"):
        entry.rmdir()
    assert "no NBD devices" in str(kernel_nbd.missing())


def test_tls_and_hosts(tmp_path: Path) -> None:
    for name in ("ca-cert.pem", "client-cert.pem", "client-key.pem"):
        (tmp_path / name).touch()
    server = Server(host="h", port=99, tls=str(tmp_path))
    words = kernel_nbd.arguments("rbd/vm1", server, "/dev/nbd3", read_only=False)
    assert words[:5] == ["h", "99", "/dev/nbd3", "-name", "rbd/vm1"]
    assert words[5:8] == ["-enable-tls", "-tlshostname", "h"]
    assert words[8:] == [
        *("-cacertfile", str(tmp_path / "ca-cert.pem")),
        *("-certfile", str(tmp_path / "client-cert.pem")),
        *("-keyfile", str(tmp_path / "client-key.pem")),
    ]
    with pytest.raises(InvalidArgument, match="107 bytes"):
        kernel_nbd.arguments("rbd/vm1", Server(path="/" + "x" * 107), "/dev/nbd3", read_only=False)


def test_nbd_client_understands_it(served: LocalStore, server: NbdServer, tmp_path: Path) -> None:
    """The real program agrees with the real server, and then asks Linux for the device."""
    client = tool("nbd-client", "nbd-client")
    if kernel_nbd.missing() is None:
        pytest.skip("this Linux has NBD devices: test_devices maps by them")
    served.create("vm1", 8 << 20)
    for name, said in (("rbd/vm1", "size = 8MB"), ("rbd/vm2", "rbd/vm2")):
        socket = Server(path=str(tmp_path / "store" / "nbd.sock"))
        words = kernel_nbd.arguments(name, socket, "/dev/nbd0", read_only=True)
        ended = subprocess.run([client, *words], capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode != 0
        assert said in ended.stdout + ended.stderr
