"""The settings that are printed: real programs of qemu take them and find the disk behind them."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from attach.host import run, tool
from cowshed.attach.printed import printed
from cowshed.attach.server import Server, parse_server
from cowshed.errors import InvalidArgument
from cowshed.store import ImageSpec, SnapSpec

IMAGE = ImageSpec("rbd", "", "vm 1,a=b")
SNAPSHOT = SnapSpec("rbd", "blue", "vm1", "monday")


@contextmanager
def served(export: str, data: Path, *where: str) -> Iterator[None]:
    """qemu-nbd with one export, until the block ends."""
    server = subprocess.Popen(
        [
            *(tool("qemu-nbd", "qemu-utils"), "--persistent", "--format=raw", "--discard=unmap"),
            *(f"--export-name={export}", *where, str(data)),
        ]
    )
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def until_there(path: Path) -> None:
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "raw"
    path.write_bytes(b"cowshed!" * 512 + bytes((1 << 20) - 4096))
    return path


@pytest.fixture
def server(tmp_path: Path, data: Path) -> Iterator[Server]:
    # A comma and blanks in the path and in the name: what is most easily quoted wrong.
    socket = tmp_path / "a, b.sock"
    with served(str(IMAGE), data, f"--socket={socket}"):
        until_there(socket)
        yield parse_server(f"unix:{socket}")


def test_blockdev(server: Server, data: Path) -> None:
    node = json.loads(printed("blockdev", IMAGE, server))
    assert (node["driver"], node["server"]["type"], node["export"]) == ("nbd", "unix", str(IMAGE))
    assert (node["discard"], node["detect-zeroes"], node["read-only"]) == ("unmap", "unmap", False)
    assert len(node["node-name"]) < 32
    name = "json:" + json.dumps(node)
    info = json.loads(run(tool("qemu-img", "qemu-utils"), "info", "--output=json", name))
    assert info["virtual-size"] == 1 << 20
    qemu_io = tool("qemu-io", "qemu-utils")
    run(
        qemu_io,
        "-c",
        "read -P 0 4k 4k",
        "-c",
        "write -P 7 64k 64k",
        "-c",
        "discard 0 4k",
        "-c",
        "flush",
        name,
    )
    assert data.read_bytes()[: 64 << 10] == bytes(64 << 10)
    assert data.read_bytes()[64 << 10 : 128 << 10] == b"\7" * (64 << 10)
    # Zeros are unmapped, and not written.
    before = data.stat().st_blocks
    run(qemu_io, "-c", "write -P 0 64k 64k", name)
    assert data.stat().st_blocks < before


def test_read_only(server: Server, data: Path) -> None:
    name = "json:" + printed("blockdev", IMAGE, server, read_only=True)
    assert "read-only" in run(tool("qemu-io", "qemu-utils"), "-c", "write 0 4k", name, fails=True).lower()
    run(tool("qemu-io", "qemu-utils"), "-r", "-c", "read 0 4k", name)
    assert json.loads(printed("blockdev", SNAPSHOT, server))["read-only"] is True


@pytest.mark.parametrize("form", ["qemu", "blockdev"])
def test_qemu_starts_with_it(server: Server, form: str) -> None:
    qemu = tool("qemu-system-x86_64", "qemu-system-x86")
    text = printed(form, IMAGE, server)
    words = ["-blockdev", text] if form == "blockdev" else shlex.split(text)
    ended = subprocess.run(
        [qemu, "-nodefaults", "-machine", "q35,accel=tcg", "-display", "none", "-S", "-qmp", "stdio", *words],
        input='{"execute":"qmp_capabilities"}{"execute":"query-named-block-nodes"}{"execute":"quit"}',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    (nodes,) = (answer["return"] for answer in answers if isinstance(answer.get("return"), list))
    (node,) = (node for node in nodes if node["drv"] == "nbd")
    assert node["image"]["virtual-size"] == 1 << 20
    (top,) = (node for node in nodes if node["drv"] == ("nbd" if form == "blockdev" else "raw"))
    assert top["detect_zeroes"] == "unmap"
    assert top["ro"] is False
    assert top["cache"] == {"no-flush": False, "direct": True, "writeback": True}


def test_tcp(data: Path, tmp_path: Path) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pid = tmp_path / "pid"
    with served(str(SNAPSHOT), data, "--bind=127.0.0.1", f"--port={port}", f"--pid-file={pid}"):
        until_there(pid)
        name = "json:" + printed("blockdev", SNAPSHOT, parse_server(f"tcp:127.0.0.1:{port}"))
        assert "1 MiB" in run(tool("qemu-img", "qemu-utils"), "info", name)


def test_tls_in_words() -> None:
    server = Server(host="h", port=10809, tls="/etc/pki/a,b")
    assert json.loads(printed("blockdev", IMAGE, server))["tls-creds"] == "cowshed-tls"
    words = shlex.split(printed("qemu", IMAGE, server))
    assert words[:2] == ["-object", "tls-creds-x509,id=cowshed-tls,endpoint=client,dir=/etc/pki/a,,b"]
    assert "file.tls-creds=cowshed-tls" in words[3]
    source = ElementTree.fromstring(printed("libvirt", IMAGE, server)).find("source")
    assert source is not None
    assert source.get("tls") == "yes"


def test_libvirt(tmp_path: Path) -> None:
    disk = ElementTree.fromstring(printed("libvirt", ImageSpec("rbd", "", '<&">'), Server(path="/a&b/s")))
    assert (disk.tag, disk.get("type"), disk.get("device")) == ("disk", "network", "disk")
    driver, source, target = (disk.find(tag) for tag in ("driver", "source", "target"))
    assert driver is not None
    assert source is not None
    assert target is not None
    assert driver.attrib == {
        "name": "qemu",
        "type": "raw",
        "cache": "none",
        "discard": "unmap",
        "detect_zeroes": "unmap",
    }
    assert source.attrib == {"protocol": "nbd", "name": 'rbd/<&">'}
    assert [host.attrib for host in source] == [{"transport": "unix", "socket": "/a&b/s"}]
    assert target.attrib == {"dev": "vda", "bus": "virtio"}
    assert disk.find("readonly") is None
    there = ElementTree.fromstring(printed("libvirt", SNAPSHOT, Server(host="::1", port=10809)))
    assert [host.attrib for host in there.iter("host")] == [{"name": "::1", "port": "10809"}]
    assert there.find("readonly") is not None


def test_a_path_too_long_for_qemu() -> None:
    with pytest.raises(InvalidArgument, match="107 bytes"):
        printed("qemu", IMAGE, Server(path="/" + "x" * 107))
    printed("qemu", IMAGE, Server(path="/" + "x" * 106))
