"""import and export of formats other than raw, as people call them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from cli.conftest import Program
from formats.qcow2_images import Layout, backing_format, by_qemu, needs_qemu, qemu_img, qemu_io

CONTENT = random.Random(3).randbytes(300_000) + bytes(100_000 + 88 + 512)


@pytest.fixture
def disk(cowshed: Program, tmp_path: Path) -> Program:
    (tmp_path / "disk.raw").write_bytes(CONTENT)
    cowshed("import", tmp_path / "disk.raw", "disk")
    return cowshed


def test_qcow2_out_and_in(disk: Program, tmp_path: Path) -> None:
    out = tmp_path / "disk.qcow2"
    disk("export", "disk", out, "--output-format", "qcow2")
    assert disk("export", "--output-format", "qcow2", "disk", "-").out == out.read_bytes()
    disk("import", out)
    disk("import", out, "second", "--input-format", "qcow2")
    disk("import", out, "bytes", "--input-format", "raw")
    size = -(-len(CONTENT) // 512) * 512
    for name in ("disk.qcow2", "second"):
        assert disk("export", name, "-").out == CONTENT.ljust(size, b"\0")
    assert disk("export", "bytes", "-").out == out.read_bytes()
    disk.fails(17, "export", "disk", out, "--output-format", "qcow2")


@needs_qemu
def test_qemu_agrees(disk: Program, tmp_path: Path) -> None:
    out = tmp_path / "disk.qcow2"
    disk("export", "disk", out, "--output-format", "qcow2")
    qemu_img("check", out)
    assert by_qemu(out)[: len(CONTENT)] == CONTENT


@needs_qemu
def test_an_internal_snapshot(disk: Program, tmp_path: Path) -> None:
    path = tmp_path / "a.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", path, "1M")
    qemu_io(path, "write -P 5 0 64K")
    qemu_img("snapshot", "-c", "old", path)
    qemu_io(path, "write -P 6 0 64K")
    disk("import", path, "old", "--input-snapshot", "old")
    assert disk("export", "old", "-").out.startswith(b"\5" * 65536)
    assert "it has 'old'" in disk.fails(2, "import", path, "x", "--input-snapshot", "older")


def test_backing_files(disk: Program, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "base").write_bytes(b"b" * 4096)
    for path, name in ((tmp_path / "top", b"base"), (tmp_path / "in" / "top", b"../base")):
        path.write_bytes(Layout(4096, backing=name, extensions=backing_format(b"raw")).bytes())
    assert "--input-format" in disk.fails(74, "import", tmp_path / "top", "x")
    disk("import", tmp_path / "top", "x", "--input-format", "qcow2")
    assert disk("export", "x", "-").out == b"b" * 4096
    words = ["import", tmp_path / "in" / "top", "y", "--input-format", "qcow2"]
    assert "--allow-backing-outside" in disk.fails(74, *words)
    disk(*words, "--allow-backing-outside")
    assert disk("ls").text.split() == ["disk", "x", "y"]


def test_stdin_that_is_a_file_and_one_that_is_a_pipe(disk: Program) -> None:
    image = Layout(4096).data(0, b"x" * 4096).bytes()
    said = disk.fails(74, "import", "-", "x", stdin=image)
    assert "from a pipe" in said
    disk("import", "-", "x", "--input-format", "raw", stdin=image)
    assert disk("export", "x", "-").out == image


def test_formats_that_are_none(disk: Program, tmp_path: Path) -> None:
    assert "vhd" in disk.fails(22, "import", tmp_path / "disk.raw", "x", "--input-format", "vhd")
    disk.fails(22, "export", "disk", tmp_path / "x", "--output-format", "vmdk")
    disk.fails(74, "import", tmp_path / "disk.raw", "x", "--input-format", "qcow2")
    assert disk("ls").text == "disk\n"
