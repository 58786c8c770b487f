"""The nouns of rbd(8) beside images and snapshots: what people type, and rbd's keys in json."""

from __future__ import annotations

import errno
import shutil
import subprocess
from pathlib import Path

import pytest

from cli.conftest import Program


@pytest.fixture(autouse=True)
def disk(cowshed: Program) -> None:
    cowshed("create", "disk", "--size", "1G")


def test_namespaces(cowshed: Program) -> None:
    cowshed("namespace", "create", "rbd/blue")
    cowshed("namespace", "create", "--pool", "rbd", "--namespace", "azure")
    assert cowshed("namespace", "ls").text == "NAME\nazure\nblue\n"
    assert cowshed("namespace", "ls", "--format", "json").json == [{"name": "azure"}, {"name": "blue"}]
    cowshed("create", "rbd/blue/a", "--size", "1")
    cowshed("create", "--namespace", "azure", "b", "--size", "1")
    assert cowshed("ls", "rbd/blue").text == "a\n"
    assert cowshed("ls", "--namespace", "azure").text == "b\n"
    assert "images" in cowshed.fails(errno.EBUSY, "namespace", "rm", "rbd/blue")
    assert "no namespace is named" in cowshed.fails(errno.EINVAL, "namespace", "rm", "rbd")
    assert [line["name"] for line in cowshed("du", "--format", "json").json["images"]] == ["disk", "b", "a"]


def test_trash(cowshed: Program) -> None:
    image_id = cowshed("info", "disk", "--format", "json").json["id"]
    cowshed("trash", "mv", "disk", "--expires-at", "2 weeks")
    assert cowshed("trash", "ls").text == f"{image_id} disk\n"
    (entry,) = cowshed("trash", "ls", "-l", "--format", "json").json
    assert set(entry) == {"id", "name", "source", "deleted_at", "status"}
    assert entry["status"].startswith("protected until ")
    assert "can be forced" in cowshed.fails(errno.EPERM, "trash", "rm", image_id)
    cowshed("trash", "purge")
    cowshed("trash", "restore", "--image-id", image_id, "--image", "again")
    assert cowshed("ls").text == "again\n"
    cowshed("trash", "mv", "again", "--expires-at", "1 hour")
    cowshed("trash", "purge", "--expired-before", "2 hours")
    assert cowshed("trash", "ls").text == ""
    assert "is no time" in cowshed.fails(errno.EINVAL, "trash", "purge", "--expired-before", "soon")
    assert "no image 'x' in the trash" in cowshed.fails(errno.ENOENT, "trash", "restore", "rbd/x")


def test_groups(cowshed: Program) -> None:
    cowshed("group", "create", "g")
    cowshed("group", "image", "add", "g", "disk")
    assert cowshed("group", "image", "ls", "g").text == "rbd/disk\n"
    assert cowshed("group", "image", "ls", "g", "--format", "json").json == [
        {"image": "disk", "pool": "rbd", "namespace": ""}
    ]
    assert "cowshed group image rm" in cowshed.fails(errno.EMLINK, "rm", "disk")
    cowshed("group", "snap", "create", "g@1")
    cowshed("group", "snap", "rename", "g@1", "one")
    (snapshot,) = cowshed("group", "snap", "ls", "g", "--format", "json").json
    assert (snapshot["snapshot"], snapshot["state"]) == ("one", "complete")
    assert cowshed("snap", "ls", "disk").text == ""
    (part,) = cowshed("snap", "ls", "--all", "disk", "--format", "json").json
    assert part["namespace"] == {"type": "group", "group snap": "rbd/g@one"}
    cowshed("group", "snap", "rollback", "g@one", "--no-progress")
    why = cowshed("why", "disk").text
    assert "cannot be removed now" in why
    for command in ("cowshed group image rm rbd/g rbd/disk", "cowshed group snap rm rbd/g@one"):
        assert command in why
    cowshed("group", "snap", "rm", "g@one")
    cowshed("group", "image", "rm", "--group", "g", "--image", "disk")
    cowshed("group", "rename", "g", "h")
    assert cowshed("group", "ls").text == "h\n"
    cowshed("group", "rm", "h")
    assert cowshed("why", "disk").text.startswith("rbd/disk can be removed: cowshed rm rbd/disk\n")


def test_copies(cowshed: Program, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.write_bytes(b"\1" * 300_000)
    cowshed("import", raw, "base")
    cowshed("snap", "create", "base@1")
    cowshed("cp", "base@1", "copy")
    cowshed("deep", "cp", "base", "deep", "--object-size", "8M")
    assert cowshed("snap", "ls", "deep", "--format", "json").json[0]["name"] == "1"
    assert cowshed("info", "deep", "--format", "json").json["order"] == 23
    for name in ("copy", "deep@1"):
        assert cowshed("export", name, "-").out == raw.read_bytes()
    cowshed("sparsify", "copy")
    cowshed("pool", "create", "fast")
    cowshed("migration", "prepare", "copy", "fast/moved")
    assert cowshed("status", "fast/moved", "--format", "json").json["migration"]["source"] == "rbd/copy"
    assert "not executed" in cowshed.fails(errno.EINVAL, "migration", "commit", "fast/moved")
    cowshed("migration", "execute", "fast/moved")
    cowshed("migration", "commit", "fast/moved")
    assert cowshed("ls", "fast").text == "moved\n"


def test_settings(cowshed: Program) -> None:
    cowshed("image-meta", "set", "disk", "owner", "alice")
    assert cowshed("image-meta", "get", "disk", "owner").text == "alice\n"
    assert cowshed("image-meta", "ls", "disk", "--format", "json").json == {"owner": "alice"}
    cowshed("image-meta", "rm", "disk", "owner")
    assert cowshed("image-meta", "ls", "disk").text == "There are 0 metadata on this image.\n"
    cowshed.fails(errno.ENOENT, "image-meta", "get", "disk", "owner")
    cowshed("config", "pool", "set", "rbd", "rbd_cache_size", "1M")
    assert cowshed("config", "pool", "get", "rbd", "rbd_cache_size").text == "1048576\n"
    shown = {o["name"]: o for o in cowshed("config", "image", "ls", "disk", "--format", "json").json}
    assert shown["rbd_cache_size"] == {"name": "rbd_cache_size", "value": "1048576", "source": "pool"}
    cowshed.fails(errno.ENOENT, "config", "image", "get", "disk", "rbd_cache_size")
    cowshed.fails(errno.EINVAL, "config", "image", "set", "disk", "rbd_nonsense", "1")
    cowshed("feature", "disable", "disk", "fast-diff")
    cowshed("feature", "enable", "disk", "object-map,fast-diff")
    cowshed.fails(errno.EINVAL, "feature", "enable", "disk", "data-pool")


def test_locks(cowshed: Program) -> None:
    cowshed("lock", "add", "disk", "one", "--shared", "t")
    cowshed("lock", "add", "disk", "two", "--shared", "t")
    assert cowshed("lock", "ls", "disk").text.startswith(
        "There are 2 shared locks on this image.\nLock tag: t\n"
    )
    cowshed.fails(errno.EBUSY, "lock", "add", "disk", "three")
    for held in cowshed("lock", "ls", "disk", "--format", "json").json:
        assert set(held) == {"id", "locker", "address"}
        cowshed("lock", "rm", "disk", held["id"], held["locker"])
    assert cowshed("lock", "ls", "disk").text == ""
    assert cowshed("status", "disk").text == "Watchers: none\n"


def test_clone_formats_and_limits(cowshed: Program) -> None:
    cowshed("snap", "limit", "set", "disk", "--limit", "1")
    cowshed("snap", "create", "disk@1")
    cowshed.fails(errno.EDQUOT, "snap", "create", "disk@2")
    cowshed("snap", "limit", "clear", "disk")
    cowshed("clone", "disk@1", "child", "--rbd-default-clone-format", "2")
    cowshed("snap", "rm", "disk@1")
    assert "keep 1 removed snapshot of it: rbd/child" in cowshed("why", "disk").text
    cowshed.fails(errno.ENOTEMPTY, "rm", "disk")
    child_id = cowshed("info", "child", "--format", "json").json["id"]
    cowshed("trash", "mv", "child")
    assert cowshed("children", "disk").text == ""
    assert cowshed("children", "disk", "--all").text == f"rbd/child (trash {child_id})\n"
    cowshed("trash", "purge")
    cowshed("rm", "disk")


def test_mirroring_is_disabled(cowshed: Program) -> None:
    assert cowshed("mirror", "pool", "info", "--format", "json").json == {"mode": "disabled"}
    assert "not enabled" in cowshed.fails(errno.EINVAL, "mirror", "image", "status", "disk")
    cowshed.fails(errno.ENOENT, "mirror", "pool", "info", "nowhere")


def test_a_pool_or_namespace_where_an_image_may_be(cowshed: Program, tmp_path: Path) -> None:
    cowshed("namespace", "create", "rbd/blue")
    cowshed("create", "rbd/blue/a", "--size", "1")
    lines = cowshed("du", "--namespace", "blue", "--format", "json").json["images"]
    assert [line["name"] for line in lines] == ["a"]
    tree = cowshed("tree", "--pool", "rbd", "--namespace", "blue", "--format", "json").json
    assert [member["image"] for member in tree] == ["a"]
    (tmp_path / "raw").write_bytes(b"x")
    cowshed("import", tmp_path / "raw", "--dest-pool", "rbd", "--dest-namespace", "blue")
    assert cowshed("ls", "rbd/blue").text == "a\nraw\n"
    assert "no image" in cowshed.fails(errno.EINVAL, "info", "--namespace", "blue")


def test_internal_snapshots_of_a_qcow2(cowshed: Program, tmp_path: Path) -> None:
    if shutil.which("qemu-img") is None:
        pytest.skip("no qemu-img here (apt-get install qemu-utils)")
    path = tmp_path / "old.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "3M"], check=True)
    subprocess.run(["qemu-img", "snapshot", "-c", "before", path], check=True)
    (found,) = cowshed("import", path, "--list-snapshots", "--format", "json").json
    assert (found["name"], found["size"]) == ("before", 3 << 20)
    assert "before" in cowshed("import", path, "--list-snapshots").text
    assert cowshed("ls").text == "disk\n"
    cowshed("import", path, "then", "--input-snapshot", "before")
    assert cowshed("ls").text == "disk\nthen\n"
    cowshed.fails(errno.EINVAL, "import", path, "--export-format", "2", "--input-format", "qcow2")


def test_xml_and_graphs(cowshed: Program) -> None:
    from xml.etree import ElementTree

    cowshed("snap", "create", "disk@1")
    cowshed("clone", "disk@1", "child")
    root = ElementTree.fromstring(cowshed("ls", "--format", "xml").text)
    assert [(item.tag, item.text) for item in root] == [("image", "child"), ("image", "disk")]
    info = ElementTree.fromstring(cowshed("info", "disk", "--format", "xml", "--pretty-format").text)
    assert info.findtext("size") == str(1 << 30)
    assert info.findtext("features/feature") == "layering"
    graph = cowshed("tree", "--dot").text
    assert graph.startswith("digraph cowshed {\n")
    assert '  "rbd/disk@1" -> "rbd/child" [style=dashed];\n' in graph
    why = cowshed("why", "child", "--format", "json").json
    assert (why["removable"], why["removal"]) == (True, [])
