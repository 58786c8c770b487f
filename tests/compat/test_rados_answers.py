"""The monitor's answers have a cluster's fields (recorded in answers_shapes.json), and right figures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cowshed
from cowshed.compat import rados, rbd
from cowshed.programs import ceph

SHAPES = Path(__file__).with_name("answers_shapes.json")

# What a cluster says of its own workings, and no one asks this face for.
_OF_POOLS = {
    *(
        "peering_crush_bucket",
        "last_pg_merge_meta",
        "last_force_op",
        "target_max",
        "cache_target",
        "cache_min",
    ),
    *("hit_set", "use_gmt", "min_read", "min_write", "grade_table"),
}
LEFT_OUT = {
    "df": {"hdd"},  # the class of its disks
    "status": {"read_", "write_"},  # the traffic of the moment
    "pg stat": {"read_", "write_", "io_"},
    "osd pool ls": _OF_POOLS,
    "osd dump": _OF_POOLS
    | {"osds", "osd_xinfo", "erasure_code_profiles", "blocklist", "range_blocklist"}
    | {"stretch_mode"},
}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    with cowshed.open(tmp_path / "store", create=True) as store:
        store.create_pool("vms")
        store.create("vms/a", 1 << 30)
        with store.open("vms/a") as image:
            image.write(0, os.urandom(8 << 20))
    with rados.Rados(conf={"cowshed": str(tmp_path / "store")}) as client:
        yield client


def asked(client: Any, prefix: str, **arguments: object) -> Any:
    number, answer, said = client.mon_command(
        json.dumps({"prefix": prefix, "format": "json", **arguments}), b""
    )
    assert number == 0, said
    return json.loads(answer)


def shape(value: Any) -> Any:
    """The fields and the kinds of their values; of a list: the shape of its first."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def missing(real: Any, ours: Any, left_out: set[str], where: str = "") -> Iterator[str]:
    """Where our answer lacks what the real one has, or has another kind of value."""
    if isinstance(real, dict) and isinstance(ours, dict):
        for key, each in real.items():
            if any(key.startswith(prefix) for prefix in left_out):
                continue
            if key not in ours:
                yield f"{where}.{key}"
            else:
                yield from missing(each, ours[key], left_out, f"{where}.{key}")
    elif isinstance(real, list) and isinstance(ours, list):
        if real and ours:
            yield from missing(real[0], ours[0], left_out, f"{where}[]")
    elif real != ours:
        yield f"{where} is {ours!r}, not {real!r}"


RECORDED: dict[str, Any] = json.loads(SHAPES.read_text())


@pytest.mark.parametrize("command", list(RECORDED))
def test_an_answer_has_the_real_ones_fields(client: Any, command: str) -> None:
    arguments = json.loads(command)
    prefix = arguments.pop("prefix")
    ours = shape(asked(client, prefix, **arguments))
    assert list(missing(RECORDED[command], ours, LEFT_OUT.get(prefix, set()))) == []


def test_the_figures_are_the_stores(client: Any) -> None:
    found = asked(client, "df")
    pools = {pool["name"]: pool["stats"] for pool in found["pools"]}
    assert pools["vms"]["stored"] == pools["vms"]["bytes_used"] == 8 << 20
    assert pools["rbd"]["stored"] == 0
    assert 0 < pools["vms"]["max_avail"] <= found["stats"]["total_avail_bytes"]
    sums = client.get_cluster_stats()
    assert sums["kb"] == found["stats"]["total_bytes"] >> 10
    quota = asked(client, "osd pool get-quota", pool="vms")
    assert (quota["quota_max_bytes"], quota["current_num_bytes"]) == (0, 8 << 20)
    assert asked(client, "fsid")["fsid"] == client.get_fsid()
    assert asked(client, "mon dump")["fsid"] == client.get_fsid()


def test_what_clones_share_is_counted_once(client: Any) -> None:
    store = client.store
    store.create_snapshot("vms/a@s")
    store.clone("vms/a@s", "rbd/b")
    pools = {pool["name"]: pool["stats"] for pool in asked(client, "df")["pools"]}
    assert pools["vms"]["stored"] + pools["rbd"]["stored"] == 8 << 20


@pytest.fixture
def conf(client: Any, tmp_path: Path) -> str:
    file = tmp_path / "ceph.conf"
    file.write_text(f"[global]\ncowshed = {tmp_path / 'store'}\n")
    return str(file)


def test_ceph_answers_as_the_module(
    client: Any, conf: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for options in (["-c", conf, "--format=json"], ["--conf", conf, "-f", "json-pretty"]):
        assert ceph.main([*options, "mon", "dump"]) == 0
        out, err = capfd.readouterr()
        assert json.loads(out) == asked(client, "mon dump")
        assert err == "dumped monmap epoch 1\n"
        address = json.loads(out)["mons"][0]["addr"]
        assert address.partition("/")[0].rpartition(":")[2].isdecimal()
    assert ceph.main(["-c", conf, "--id", "cinder", "fsid"]) == 0
    assert capfd.readouterr().out.strip() == client.get_fsid()
    assert ceph.main(["-c", conf, "osd", "pool", "ls"]) == 0
    assert capfd.readouterr().out == "rbd\nvms\n"
    with client.open_ioctx("vms") as ioctx:
        rbd.RBD().create(ioctx, "disk", 1 << 20)
    assert ceph.main(["-c", conf, "osd", "pool", "rm", "vms", "vms", "--yes-i-really-really-mean-it"]) == 0
    assert capfd.readouterr().err == "pool 'vms' removed\n"
    assert client.list_pools() == ["rbd"]
    assert ceph.main(["-c", conf, "-s"]) == 0
    assert "health: HEALTH_OK" in capfd.readouterr().out
    assert ceph.main(["-c", conf, "df", "-o", str(tmp_path / "out")]) == 0
    assert "--- POOLS ---" in (tmp_path / "out").read_text()


def test_what_people_type(client: Any, conf: str, capfd: pytest.CaptureFixture[str]) -> None:
    nodes = asked(client, "osd tree")["nodes"]
    assert [(node["type"], node.get("children")) for node in nodes] == [
        ("root", [nodes[1]["id"]]),
        ("host", [nodes[2]["id"]]),
        ("osd", None),
    ]
    for words, said in (
        (["osd", "tree"], " up   1.00000  1.00000\n"),
        (["osd", "stat"], "1 osds: 1 up, 1 in; epoch: e1\n"),
        (["pg", "stat"], "2 pgs: 2 active+clean; 8 MiB data, "),
        (["osd", "pool", "stats", "vms"], "pool vms id 2\n  nothing is going on\n"),
        (["health", "detail"], "HEALTH_OK\n"),
        (["versions"], "(cowshed) pacific (stable)"),
        (["osd", "versions"], "(cowshed) pacific (stable)"),
    ):
        assert ceph.main(["-c", conf, *words]) == 0
        assert said in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["osd", "pool", "get-quota", "nope"], 2, "Error ENOENT: unrecognized pool 'nope'"),
        (["osd", "pool", "rm", "vms"], 1, "Error EPERM: WARNING: this will *PERMANENTLY DESTROY*"),
        (["auth", "get-key", "client.other"], 2, "Error ENOENT: don't have client.other"),
        (["nope"], 22, "no valid command found"),
        (["osd", "pool"], 22, "no valid command found"),
        (["osd", "pool", "get-quota"], 22, "Invalid command: osd pool get-quota <pool>"),
        (["df", "--format=xml"], 22, "--format is one of"),
        (["fsid", "--cowshed=/nowhere"], 1, "no store at '/nowhere'"),
    ],
)
def test_ceph_refuses(
    conf: str, words: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ceph.main(["-c", conf, *words]) == code
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_ceph_without_its_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert ceph.main(["-c", "/nowhere/ceph.conf", "fsid"]) == 1
    assert "ObjectNotFound" in capfd.readouterr().err
