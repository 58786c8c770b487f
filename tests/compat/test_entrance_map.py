"""`rbd map` as os-brick calls it: a device of this host, its name in /dev/rbd, and how both go again."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from attach.host import needs_blocks
from compat.entering import Cluster, clustered
from compat.test_entrance_rbd import Rbd
from cowshed.attach import links
from cowshed.store import ImageSpec, SnapSpec
from serve.daemons import run

pytestmark = needs_blocks

MIB = 1 << 20
POOL = f"cowshed-{os.getpid()}"
"""The links are the host's, so their names must be this run's own."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with clustered(tmp_path_factory.mktemp("cluster")) as found:
        found.keyring("admin", "--role", "admin")
        Rbd("--id", "admin", "--conf", str(found.conf("admin")))("pool", "create", POOL)
        yield found


@pytest.fixture(params=["mon_host", "path"])
def rbd(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Rbd]:
    """The program, by the daemon's address and a key or by the store's path; nothing stays mapped."""
    if request.param == "mon_host":
        rbd = Rbd("--id", "cinder", "--conf", str(cluster.conf("cinder")))
    else:
        (tmp_path / "ceph.conf").write_text(f"[global]\ncowshed = {cluster.store}\n")
        # os-brick names the monitors all the same.
        rbd = Rbd("--id", "cinder", "-c", str(tmp_path / "ceph.conf"), "--mon_host", cluster.mon_host)
    rbd.environment["COWSHED_RUN"] = str(tmp_path / "run")
    yield rbd
    left = json.loads(rbd("showmapped", "--format=json").out)
    for mapping in left:
        rbd("unmap", "--force", mapping["device"])
    assert left == []
    assert not (links.ROOM / POOL).exists()


def test_a_device_and_its_name(rbd: Rbd, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(data := random.Random(3).randbytes(MIB))
    rbd("import", "--pool", POOL, tmp_path / "source", "disk")
    device = rbd("map", "disk", "--pool", POOL).out.decode().strip()
    link = Path("/dev/rbd", POOL, "disk")
    assert str(link.readlink()) == device
    (shown,) = json.loads(rbd("showmapped", "--format=json").out)
    assert shown == {
        "id": "0",
        "pool": POOL,
        "namespace": "",
        "name": "disk",
        "snap": "-",
        "device": device,
    }
    with link.open("r+b") as disk:
        assert disk.read() == data
        disk.seek(MIB // 2)
        disk.write(data[: MIB // 4])
    rbd("unmap", device)
    assert not link.is_symlink()
    # Nobody has it open any more, from this moment on.
    assert json.loads(rbd("status", f"{POOL}/disk", "--format=json").out)["watchers"] == []
    assert rbd("export", "--pool", POOL, "disk", "-").out == (
        data[: MIB // 2] + data[: MIB // 4] + data[-MIB // 4 :]
    )
    rbd("rm", "--pool", POOL, "disk")


def test_a_snapshot_is_read_only_and_named_by_its_spec(rbd: Rbd) -> None:
    rbd("create", "--pool", POOL, "disk", "--size", "1M")
    rbd("snap", "create", f"{POOL}/disk@s")
    rbd("map", f"{POOL}/disk@s")
    link = Path("/dev/rbd", POOL, "disk@s")
    with link.open("r+b", buffering=0) as disk, pytest.raises(OSError, match="not permitted"):
        disk.write(b"x" * 4096)
    rbd("unmap", link)
    assert not link.is_symlink()
    rbd("snap", "rm", f"{POOL}/disk@s")
    rbd("rm", "--pool", POOL, "disk")


def test_the_newest_mapping_has_the_name(rbd: Rbd) -> None:
    rbd("create", "--pool", POOL, "disk", "--size", "1M")
    first, second = (rbd("map", f"{POOL}/disk").out.decode().strip() for _ in range(2))
    link = Path("/dev/rbd", POOL, "disk")
    assert str(link.readlink()) == second != first
    rbd("unmap", first)
    assert str(link.readlink()) == second
    rbd("unmap", second)
    rbd("rm", f"{POOL}/disk")


def test_the_key_is_in_no_list_of_processes(rbd: Rbd) -> None:
    rbd("create", "--pool", POOL, "disk", "--size", "1M")
    device = rbd("map", f"{POOL}/disk").out.decode().strip()
    (record,) = (Path(rbd.environment["COWSHED_RUN"]) / "maps").glob("*/record")
    words = Path("/proc", str(json.loads(record.read_text())["pid"]), "cmdline").read_bytes()
    assert words.rstrip(b"\0").split(b"\0")[1:] == [b"-m", b"cowshed.attach.mapper"]
    rbd("unmap", device)
    rbd("rm", f"{POOL}/disk")


def test_what_is_not_there(rbd: Rbd) -> None:
    assert rbd.run("map", f"{POOL}/none").status == 2
    assert rbd.run("map", "disk", "--pool", f"{POOL}-none").status == 2
    assert rbd.run("unmap", "/dev/rbd/none/none").status == 22
    assert rbd("showmapped").out == b""


def test_a_wrong_key_maps_nothing(cluster: Cluster, tmp_path: Path) -> None:
    conf, keyring = tmp_path / "ceph.conf", tmp_path / "keyring"
    keyring.write_text(f"[client.cinder]\nkey = {cluster.key('cinder')}\n")
    conf.write_text(f"[global]\nmon_host = {cluster.mon_host}\nkeyring = {keyring}\n")
    rbd = Rbd("--id", "cinder", "-c", str(conf))
    rbd.environment["COWSHED_RUN"] = str(tmp_path / "run")
    rbd("create", f"{POOL}/wrong", "--size", "1M")
    run(cluster.store, "token", "rm", "client.cinder")
    (cluster.place / "ceph.client.cinder.keyring").unlink()
    ended = rbd.run("map", f"{POOL}/wrong")
    assert (ended.status, "token" in ended.err) == (126, True), ended
    assert rbd("showmapped").out == b""
    run(cluster.store, "rm", f"{POOL}/wrong")


def test_names_that_would_lead_elsewhere_get_no_link() -> None:
    assert links.link_of(ImageSpec("..", "", "passwd")) is None
    assert links.link_of(SnapSpec("p", ".", "i", "s")) is None
    assert links.link_of(SnapSpec("p", "n", "i", "..s")) == Path("/dev/rbd/p/n/i@..s")


def test_only_rbd_gives_names(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """cowshed's own command leaves /dev/rbd alone."""
    monkeypatch.setenv("COWSHED_RUN", str(tmp_path / "run"))
    run(cluster.store, "create", f"{POOL}/plain", "--size", "1M")
    device = run(cluster.store, "map", f"{POOL}/plain").strip()
    assert not (links.ROOM / POOL).exists()
    run(cluster.store, "unmap", device)
    run(cluster.store, "rm", f"{POOL}/plain")
