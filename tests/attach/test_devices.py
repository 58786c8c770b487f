"""Images as block devices of this host, by the real program: made, used, listed, taken back, cleared away."""

from __future__ import annotations

import errno
import mmap
import os
import random
import shlex
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest

from attach.conftest import Host, kill
from attach.host import needs_blocks, run, tool
from cowshed._kernel import NbdServer, ServerTls
from cowshed.attach import devices, kernel_nbd
from cowshed.attach.register import Slot
from cowshed.attach.server import server_of
from cowshed.errors import Busy, InvalidArgument, PermissionDenied
from cowshed.local import LocalStore
from cowshed.store import ImageSpec
from nbd.certificates import Authority

pytestmark = needs_blocks

MIB = 1 << 20


@pytest.fixture(params=["fuse", "nbd"])
def device_type(request: pytest.FixtureRequest) -> str:
    if request.param == "nbd" and (missing := kernel_nbd.missing()):
        pytest.skip(str(missing))
    return str(request.param)


@pytest.fixture
def point(tmp_path: Path) -> Iterator[Path]:
    point = tmp_path / "point"
    point.mkdir()
    yield point
    with suppress(AssertionError):
        run(tool("umount", "mount"), "--lazy", point)


def read_directly(device: str) -> int:
    """Read the device past the page cache: 0, or the number of the error."""
    with closing(os.fdopen(os.open(device, os.O_RDONLY | os.O_DIRECT), "rb", buffering=0)) as file:
        try:
            os.preadv(file.fileno(), [mmap.mmap(-1, 4096)], 4096)
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def test_a_file_system_on_it(host: Host, served: LocalStore, point: Path, device_type: str) -> None:
    mount, umount, mkfs = tool("mount", "mount"), tool("umount", "mount"), tool("mkfs.ext4", "e2fsprogs")
    dice = random.Random(7)
    files = {f"f{i}": dice.randbytes(dice.randrange(3 * MIB)) for i in range(30)}
    served.create("vm1", 512 * MIB)
    device = host.map("vm1", "--device-type", device_type)
    run(mkfs, "-q", device)
    run(mount, device, point)
    for name, data in files.items():
        (point / name).write_bytes(data)
    run("sync")
    run(tool("fsfreeze", "util-linux"), "--freeze", point)
    served.create_snapshot("vm1@full")
    run(tool("fsfreeze", "util-linux"), "--unfreeze", point)
    full = served.usage("vm1").referenced
    assert full > sum(map(len, files.values()))
    for name in files:
        (point / name).unlink()
    run("sync")
    run(tool("fstrim", "util-linux"), point)
    # What the files took is gone from the image, and only the snapshot holds it now.
    assert served.usage("vm1").referenced < full - sum(map(len, files.values()))
    run(umount, point)
    host("unmap", device)
    device = host.map("vm1@full", "--device-type", device_type)
    assert run(tool("blockdev", "util-linux"), "--getro", device).strip() == "1"
    run(mount, "--read-only", device, point)
    assert {name: (point / name).read_bytes() for name in files} == files
    run(umount, point)
    host("unmap", "vm1@full")
    assert host.left() == []


def test_what_was_written_is_durable_when_it_is_unmapped(
    host: Host, served: LocalStore, server: NbdServer
) -> None:
    served.create("vm1", 8 * MIB)
    device = host.map("vm1")
    # Written into the page cache, and never synced.
    with closing(os.fdopen(os.open(device, os.O_WRONLY), "wb", buffering=0)) as file:
        os.pwrite(file.fileno(), b"cow" * 1000, 5000)
    host("unmap", device)
    with served.open("vm1") as image:
        assert image.read(5000, 3000) == b"cow" * 1000
    counts = {entry.operation: entry.requests for entry in server.statistics() if entry.label == "rbd/vm1"}
    assert counts["flush"] >= 1


def test_listing(host: Host, served: LocalStore) -> None:
    assert host("showmapped").text == ""
    assert host("device", "list", "--format", "json").json == []
    served.create_namespace("rbd", "blue")
    served.create("vm1", 8 * MIB)
    served.create("rbd/blue/vm2", 8 * MIB)
    served.create_snapshot("rbd/blue/vm2@monday")
    first, second = host.map("vm1"), host.map("--pool", "rbd", "--namespace", "blue", "vm2@monday")
    wide = len(first)
    assert host("showmapped").text == (
        f"id  pool  namespace  image  snap    {'device':{wide}}".rstrip() + "\n"
        f"0   rbd              vm1    -       {first}\n"
        f"1   rbd   blue       vm2    monday  {second}\n"
    )
    rows = [
        {"id": "0", "pool": "rbd", "namespace": "", "name": "vm1", "snap": "-", "device": first},
        {"id": "1", "pool": "rbd", "namespace": "blue", "name": "vm2", "snap": "monday", "device": second},
    ]
    assert host("device", "ls", "--format", "json").json == rows
    root = ElementTree.fromstring(host("showmapped", "--format", "xml").text)
    assert root.tag == "devices"
    assert [child.tag for child in root] == ["device", "device"]
    assert root.findtext("device/name") == "vm1"
    assert host("showmapped", "-t", "nbd").text == ""
    host("device", "unmap", "vm1")
    assert host("showmapped", "--format", "json").json == rows[1:]
    # The lowest free number is taken again.
    host.map("vm1", "--read-only")
    assert [row["id"] for row in host("showmapped", "--format", "json").json] == ["0", "1"]


def test_in_use(host: Host, served: LocalStore, point: Path) -> None:
    served.create("vm1", 64 * MIB)
    device = host.map("vm1")
    run(tool("mkfs.ext4", "e2fsprogs"), "-q", device)
    run(tool("mount", "mount"), device, point)
    for words in ([device], ["vm1"]):
        assert f"{device} (rbd/vm1) is in use" in host.fails(errno.EBUSY, "unmap", *words)
    (point / "still").write_text("works")
    os.sync()
    host("unmap", "--options", "force", device)
    assert host("showmapped").text == ""
    run(tool("umount", "mount"), "--lazy", point)


def test_a_program_still_has_it_open(host: Host, served: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    served.create("vm1", 8 * MIB)
    device = host.map("vm1")
    monkeypatch.setenv("COWSHED_RUN", str(host.run_directory))
    monkeypatch.setattr(devices, "_END_SECONDS", 0.3)
    (mapping,) = host.mapped()
    slot = devices.mapped()[0][0]
    with closing(os.fdopen(os.open(device, os.O_RDWR), "r+b", buffering=0)) as file:
        with pytest.raises(Busy, match="still open"):
            devices.unmap(mapping.spec)
        # It works until it is closed.
        os.pwrite(file.fileno(), b"x" * 4096, 0)
        os.fsync(file.fileno())
        assert slot.served()
        assert served.usage("vm1").referenced == 4096
    assert slot.ended(20)
    assert not slot.path.exists()
    assert host.left() == []


def test_the_process_behind_it_was_killed(host: Host, served: LocalStore, point: Path) -> None:
    served.create("vm1", 64 * MIB)
    device = host.map("vm1")
    run(tool("mkfs.ext4", "e2fsprogs"), "-q", device)
    run(tool("mount", "mount"), device, point)
    (point / "kept").write_bytes(b"kept" * 100_000)
    run("sync")
    (mapping,) = host.mapped()
    kill(mapping)
    assert Slot(0, host.run_directory / "maps" / "0").ended(20)
    assert read_directly(device) == errno.EIO
    run(tool("umount", "mount"), "--lazy", point)
    assert host("showmapped").text == ""
    assert host.left() == []
    assert "is not mapped" in host.fails(errno.EINVAL, "unmap", device)
    # The image is none the worse, and can be mapped again under the same number.
    device = host.map("vm1")
    run(tool("e2fsck", "e2fsprogs"), "-fy", device, fails=None)
    run(tool("mount", "mount"), device, point)
    assert (point / "kept").read_bytes() == b"kept" * 100_000
    run(tool("umount", "mount"), point)
    assert [m.id for m in host.mapped()] == [0]
    host("unmap", "vm1")


def test_partitions(host: Host, served: LocalStore) -> None:
    served.create("vm1", 64 * MIB)
    device = host.map("vm1")
    # A DOS partition table: 2048 sectors in, 16 MiB of type 83; then the rest of the disk.
    entries = [(2048, 32768), (2048 + 32768, 131072 - 2048 - 32768)]
    table = b"".join(struct.pack("<4xB3xII", 0x83, *entry) for entry in entries)
    Path(device).write_bytes(bytes(446) + table + bytes(32) + b"\x55\xaa")
    host("unmap", device)
    device = host.map("vm1")
    scans = run(tool("losetup", "mount"), "--noheadings", "--output", "PARTSCAN", device)
    assert scans.strip() == "1"
    if not Path(f"{device}p1").exists():
        # This Linux reads no partition tables: it has to be told.
        run(tool("addpart", "util-linux"), device, 1, *entries[0])
    assert int(Path(f"/sys/class/block/{Path(device).name}p1/size").read_text()) == 32768
    # What holds a partition holds the device.
    holder = os.open(f"{device}p1", os.O_RDONLY | os.O_EXCL)
    assert "in use" in host.fails(errno.EBUSY, "unmap", device)
    os.close(holder)
    host("unmap", device)


def test_more_than_once(host: Host, served: LocalStore) -> None:
    served.create("vm1", 8 * MIB)
    first, second = host.map("vm1"), host.map("vm1", "-o", "ro")
    ended = host.run("unmap", "vm1")
    assert ended.status == 0
    assert ended.err == f"'rbd/vm1' is mapped more than once: unmapped {first} only\n"
    (left,) = host.mapped()
    assert (left.device, left.read_only) == (second, True)
    link = host.room / "link"
    link.symlink_to(second)
    host("unmap", link)


def test_many_at_once(host: Host, served: LocalStore) -> None:
    served.create("vm1", 8 * MIB)
    words = [*host.command, "map", "vm1", "--read-only"]
    started = [
        subprocess.Popen(words, env=host.environment, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    made = [process.communicate(timeout=60)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * 4
    assert len(set(made)) == 4
    assert [m.id for m in host.mapped()] == [0, 1, 2, 3]
    assert sorted(m.device for m in host.mapped()) == sorted(made)


def test_the_server_goes_away(host: Host, served: LocalStore, tmp_path: Path) -> None:
    from attach.conftest import ByName
    from cowshed._kernel import NbdServer

    served.create("vm1", 8 * MIB)
    server = NbdServer(served._catalog.kernel, ByName(served))
    server.listen_unix(tmp_path / "other.sock")
    device = host.map("vm1", "--nbd", f"unix:{tmp_path}/other.sock", "--timeout", "0.5")
    server.stop(1.0)
    assert read_directly(device) == errno.EIO
    host("unmap", device)


def test_over_tls(host: Host, served: LocalStore, server: NbdServer, tmp_path: Path) -> None:
    served.create("vm1", 8 * MIB)
    authority = Authority.make(tmp_path / "pki")
    authority.server("localhost")
    authority.client()
    files = authority.directory
    tls = ServerTls(files / "server-cert.pem", files / "server-key.pem", client_ca=authority.ca)
    where = ["--nbd", f"tcp:localhost:{server.listen_tcp('127.0.0.1', 0, tls=tls)}"]
    refused = host.run("map", "vm1", *where)
    assert refused.status != 0
    assert "TLS" in refused.err
    device = host.map("vm1", *where, "--tls-dir", files)
    Path(device).write_bytes(b"secret" * 1000)
    host("unmap", device)
    with served.open("vm1") as image:
        assert image.read(0, 6000) == b"secret" * 1000
    # qemu takes the same directory.
    words = shlex.split(host("map", "vm1", *where, "--tls-dir", files, "--print", "qemu").text)
    name = "json:" + host("map", "vm1", *where, "--tls-dir", files, "--print", "blockdev").text
    assert "8 MiB" in run(tool("qemu-img", "qemu-utils"), "info", "--object", words[1], name)


def test_what_cannot_be_mapped(host: Host, served: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "rbd/nothing" in host.fails(errno.ENOENT, "map", "nothing")
    served.create("vm1", 8 * MIB)
    assert "vm1@never" in host.fails(errno.ENOENT, "map", "vm1@never")
    assert "is not built" in host.fails(errno.EINVAL, "map", "vm1", "--device-type", "ublk")
    assert "is not mapped" in host.fails(errno.EINVAL, "unmap", "vm1")
    assert "no option 'rx'" in host.fails(errno.EINVAL, "map", "vm1", "--options", "ro,rx")
    assert "both" in host.fails(errno.EINVAL, "map", "vm1", "--options", "rw", "--read-only")
    assert "cowshed --store" in host.fails(errno.ENOENT, "--store", host.room / "elsewhere", "map", "vm1")
    if kernel_nbd.missing():
        assert "nbd" in host.fails(errno.ENOENT, "map", "vm1", "--device-type", "nbd")
    assert host.mapped() == []
    assert not list((host.run_directory / "maps").glob("[0-9]*"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PermissionDenied, match="only root"):
        devices.map_image(ImageSpec.parse("vm1"), server_of(str(host.store)))


def test_a_device_that_is_not_ours(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COWSHED_RUN", str(host.run_directory))
    with pytest.raises(InvalidArgument, match="is not mapped"):
        devices.unmap("/dev/null")
    assert "is not mapped" in host.fails(errno.EINVAL, "unmap", "/dev/loop77")
