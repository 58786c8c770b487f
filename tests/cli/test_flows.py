"""What people do with it, and what it answers: rbd's tables and rbd's json keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.conftest import Program

MIB = 1 << 20


@pytest.fixture
def family(cowshed: Program, tmp_path: Path) -> Program:
    """`base` with snapshots s1 (protected) and s2, its clone `child` of s1, and `grandchild` of child@s."""
    raw = tmp_path / "base.raw"
    raw.write_bytes(b"\1" * MIB + bytes(MIB) + b"\2" * MIB)
    cowshed("import", raw, "base")
    cowshed("snap", "create", "base@s1")
    cowshed("snap", "protect", "base@s1")
    cowshed("snap", "create", "base@s2")
    cowshed("clone", "base@s1", "child")
    cowshed("snap", "create", "child@s")
    cowshed("clone", "child@s", "grandchild")
    return cowshed


def write(program: Program, image: str) -> None:
    """Overwrite the first 64 KiB of an image."""
    words = ["--io-type", "write", "--io-size", "64K", "--io-total", "64K", "--io-threads", "1"]
    program("bench", image, *words)


def test_init_says_what_to_do_next(anywhere: Program, cowshed: Program, tmp_path: Path) -> None:
    made = anywhere("init", tmp_path / "other")
    assert f"export COWSHED_STORE={tmp_path / 'other'}" in made.text
    assert Program(tmp_path / "other")("pool", "ls").text == "rbd\n"
    anywhere.fails(17, "init", tmp_path / "other")


def test_the_store_can_be_named_before_and_behind_the_verb(cowshed: Program) -> None:
    cowshed("create", "a", "--size", "1")
    nowhere = Program(cowshed.store / "nowhere")
    assert nowhere("--store", cowshed.store, "ls").text == "a\n"
    assert nowhere("ls", "--store", cowshed.store).text == "a\n"
    assert nowhere("--store", "/nonsense", "ls", "--store", cowshed.store).text == "a\n"


def test_create_and_list(cowshed: Program) -> None:
    cowshed("create", "disk", "--size", "1G")
    cowshed("create", "--size", "512", "--image", "small", "--object-size", "1M")
    assert cowshed("ls").text == "disk\nsmall\n"
    assert cowshed("list", "rbd", "--format", "json").json == ["disk", "small"]
    info = cowshed("info", "small", "--format", "json").json
    assert (info["size"], info["order"], info["objects"]) == (512 * MIB, 20, 512)
    assert cowshed("ls", "-l").text.splitlines()[0].split() == [
        "NAME",
        "SIZE",
        "PARENT",
        "FMT",
        "PROT",
        "LOCK",
    ]
    assert cowshed("ls", "-l").text.splitlines()[1].split() == ["disk", "1", "GiB", "2"]


def test_long_list(family: Program) -> None:
    entries = family("ls", "-l", "--format", "json").json
    by_name = {(e["image"], e.get("snapshot")): e for e in entries}
    assert by_name.keys() == {
        ("base", None),
        ("base", "s1"),
        ("base", "s2"),
        ("child", None),
        ("child", "s"),
        ("grandchild", None),
    }
    assert by_name["child", None]["parent"] == {
        "pool": "rbd",
        "pool_namespace": "",
        "image": "base",
        "snapshot": "s1",
    }
    assert by_name["base", "s1"]["protected"] == "true"
    assert by_name["base", "s2"]["protected"] == "false"
    assert by_name["base", None]["format"] == 2
    assert "rbd/base@s1" in family("ls", "-l").text


def test_info(family: Program) -> None:
    info = family("info", "child", "--format", "json", "--pretty-format").json
    assert list(info) == [
        "name",
        "id",
        "size",
        "objects",
        "order",
        "object_size",
        "snapshot_count",
        "block_name_prefix",
        "format",
        "features",
        "op_features",
        "flags",
        "create_timestamp",
        "access_timestamp",
        "modify_timestamp",
        "parent",
    ]
    assert info["parent"] | {"id": ""} == {
        "pool": "rbd",
        "pool_namespace": "",
        "image": "base",
        "id": "",
        "snapshot": "s1",
        "trash": False,
        "overlap": 3 * MIB,
    }
    assert family("info", "base@s1", "--format", "json").json["protected"] == "true"
    text = family("info", "child").text
    assert text.startswith("cowshed image 'child':\n\tsize 3 MiB in 1 object\n\torder 22 (4 MiB objects)\n")
    assert "\tparent: rbd/base@s1\n\toverlap: 3 MiB\n" in text
    assert "\tprotected: True\n" in family("info", "base@s1").text


def test_info_of_the_store(family: Program) -> None:
    info = family("info", "--format", "json").json
    assert (info["target"], info["images"], info["snapshots"]) == (str(family.store), 3, 3)
    assert info["used"] == 2 * MIB
    assert f"cowshed store '{family.store}'" in family("info").text


def test_snapshots(family: Program) -> None:
    listed = family("snap", "ls", "base", "--format", "json").json
    assert [list(s) for s in listed] == [["id", "name", "size", "protected", "timestamp"]] * 2
    assert [(s["name"], s["size"], s["protected"]) for s in listed] == [
        ("s1", 3 * MIB, "true"),
        ("s2", 3 * MIB, "false"),
    ]
    heading = family("snap", "ls", "base").text.splitlines()[0]
    assert heading.split() == ["SNAPID", "NAME", "SIZE", "PROTECTED", "TIMESTAMP"]
    family("snap", "rename", "base@s2", "base@later")
    family("snap", "unprotect", "base@s1")
    family("snap", "rm", "base@s1")
    assert [s["name"] for s in family("snap", "list", "base", "--format", "json").json] == ["later"]
    family("snap", "purge", "base")
    assert family("snap", "ls", "base").out == b""
    assert family("snap", "ls", "base", "--format", "json").json == []


def test_rollback(family: Program, tmp_path: Path) -> None:
    write(family, "base")
    assert family("diff", "base", "--from-snap", "s2").out
    family("snap", "rollback", "base@s2")
    assert family("diff", "base", "--from-snap", "s2").out == b""
    family("export", "base", tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == (tmp_path / "base.raw").read_bytes()


def test_clones_outlive_their_parents(family: Program, tmp_path: Path) -> None:
    assert family("children", "base@s1").text == "rbd/child\n"
    assert family("children", "base", "--format", "json").json == [
        {"pool": "rbd", "pool_namespace": "", "image": "child"}
    ]
    assert family("children", "base@s1", "-a", "--format", "json").json[0].keys() == {
        "pool",
        "pool_namespace",
        "image",
        "id",
        "trash",
    }
    family("snap", "unprotect", "base@s1")
    family("snap", "purge", "base")
    family("rm", "base")
    family("flatten", "grandchild")
    assert "parent" not in family("info", "grandchild", "--format", "json").json
    family("export", "grandchild", tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == (tmp_path / "base.raw").read_bytes()
    assert family("check").text == "the store is sound\n"


def test_resize_and_move(cowshed: Program) -> None:
    cowshed("create", "a", "--size", "8M")
    cowshed("resize", "a", "--size", "16M")
    assert "allow" in cowshed.fails(22, "resize", "a", "--size", "4M")
    cowshed("resize", "a", "--size", "4M", "--allow-shrink")
    assert cowshed("info", "a", "--format", "json").json["size"] == 4 * MIB
    cowshed("mv", "a", "b")
    cowshed("rename", "b", "c")
    assert cowshed("ls").text == "c\n"


def test_pools(cowshed: Program) -> None:
    cowshed("pool", "create", "volumes")
    assert cowshed("pool", "ls").text == "rbd\nvolumes\n"
    assert cowshed("pool", "ls", "--format", "json").json == ["rbd", "volumes"]
    cowshed("create", "volumes/a", "--size", "1M")
    cowshed("create", "-p", "volumes", "b", "--size", "1M")
    assert cowshed("ls", "volumes").text == "a\nb\n"
    assert cowshed("ls", "-p", "volumes").text == "a\nb\n"
    assert cowshed("pool", "stats", "volumes", "--format", "json").json == {
        "images": {"count": 2, "provisioned_bytes": 2 * MIB, "snap_count": 0},
        "trash": {"count": 0, "provisioned_bytes": 0, "snap_count": 0},
    }
    assert cowshed("pool", "stats", "volumes").text == (
        "Total Images: 2\nTotal Snapshots: 0\nProvisioned Size: 2 MiB\n"
    )
    cowshed.fails(39, "pool", "rm", "volumes")
    cowshed("rm", "volumes/a")
    cowshed("rm", "volumes/b")
    cowshed("pool", "rm", "volumes")
    assert cowshed("pool", "ls").text == "rbd\n"


def test_du(family: Program) -> None:
    write(family, "child")
    lines = family("du", "child", "--format", "json").json["images"]
    assert [(line.get("snapshot"), line["used_size"], line["exclusive_size"]) for line in lines] == [
        ("s", 2 * MIB, 0),
        (None, 65536, 65536),
    ]
    assert lines[1]["referenced_size"] == 2 * MIB
    everything = family("du", "--format", "json").json
    assert everything["total_provisioned_size"] == 9 * MIB
    assert len(everything["images"]) == 6
    table = family("du", "child").text.splitlines()
    assert table[0].split() == ["NAME", "PROVISIONED", "USED", "EXCLUSIVE"]
    assert table[-1].split()[:3] == ["<TOTAL>", "3", "MiB"]
    merged = family("du", "--merge-snapshots", "child", "--format", "json").json["images"]
    assert [line["used_size"] for line in merged] == [2 * MIB + 65536]
    assert len(family("du", "child@s", "--format", "json").json["images"]) == 1
    family.fails(2, "du", "child@nope")


def test_diff(family: Program) -> None:
    write(family, "base")
    assert family("diff", "base", "--from-snap", "s1", "--format", "json").json == [
        {"offset": 0, "length": 65536, "exists": "true"}
    ]
    assert family("diff", "base@s2", "--from-snap", "s1", "--format", "json").json == []
    assert family("diff", "base", "--from-snap", "s1").text == "Offset  Length  Type\n0       65536   data\n"
    family.fails(2, "diff", "base", "--from-snap", "nope")


def test_tree(family: Program) -> None:
    names = [line[:30].rstrip() for line in family("tree").text.splitlines()]
    assert names == [
        "NAME",
        "rbd/base",
        "├── @s1 (protected)",
        "│   └── rbd/child",
        "│       └── @s",
        "│           └── rbd/grandchild",
        "└── @s2",
    ]
    assert family("tree", "grandchild").out == family("tree").out
    plain = family.run("tree", env={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})
    assert "|   `-- rbd/child" in plain.text
    members = {entry["image"]: entry for entry in family("tree", "--format", "json").json}
    assert members["grandchild"]["parent"] == "rbd/child@s"
    assert members["base"]["snapshots"][0]["clones"] == ["rbd/child"]
    assert members["base"]["parent"] is None


def test_tree_of_a_long_chain(cowshed: Program) -> None:
    cowshed("create", "c0", "--size", "1M")
    for i in range(5):
        cowshed("snap", "create", f"c{i}@s")
        cowshed("clone", f"c{i}@s", f"c{i + 1}")
    assert cowshed("tree", "c5").text.splitlines()[-1].lstrip("│└─ ").startswith("rbd/c5")


def test_bench(family: Program) -> None:
    words = ["--io-total", "256K", "--io-threads", "2"]
    text = family("bench", "child", "--io-type", "rw", "--rw-mix-read", "50", *words).text
    head, columns, *_, sums, reads, writes = text.splitlines()
    assert head == (
        "bench  type readwrite read:write=50:50 io_size 4096 io_threads 2 bytes 262144 pattern sequential"
    )
    assert columns == "  SEC       OPS   OPS/SEC   BYTES/SEC"
    assert sums.split()[:4] == ["elapsed:", "0", "ops:", "64"]
    assert int(reads.split()[1]) + int(writes.split()[1]) == 64
    assert family("bench", "base@s1", "--io-type", "read", "--io-pattern", "rand", *words).out
    assert family("diff", "base", "--from-snap", "s2").out == b""
    family.fails(22, "bench", "base@s1", "--io-type", "write")
    family.fails(22, "bench", "base", "--io-type", "write", "--io-size", "4M")
    family.fails(22, "bench", "base", "--io-type", "write", "--io-size", "0")


def test_reclaim_and_check(family: Program) -> None:
    assert family("check", "--format", "json").json == {"sound": True, "errors": []}
    assert "returned" in family("reclaim").text
    assert family("reclaim", "--format", "json").json.keys() == {"returned_bytes", "blocks_file_bytes"}
