"""rbd's stream formats through the program: whole images, and diffs merged."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from cli.conftest import Program

CONTENT = random.Random(2).randbytes(1 << 20) + bytes(1 << 20)


@pytest.fixture
def disk(cowshed: Program) -> Program:
    """`disk` with snapshots one (protected) and two."""
    cowshed("import", "-", "disk", "--order", "20", stdin=CONTENT)
    for name in ("one", "two"):
        cowshed("bench", "disk", "--io-type", "write", "--io-pattern", "rand", "--io-total", "64K")
        cowshed("snap", "create", f"disk@{name}")
    cowshed("snap", "protect", "disk@one")
    cowshed("image-meta", "set", "disk", "os", "linux")
    cowshed("bench", "disk", "--io-type", "write", "--io-pattern", "rand", "--io-total", "64K")
    return cowshed


def hashed(program: Program, image: str) -> list[bytes]:
    """The contents of an image that has the snapshots of `disk`."""
    return [program("export", one, "-").out for one in (f"{image}@one", f"{image}@two", image)]


def test_from_store_to_store(disk: Program, tmp_path: Path) -> None:
    other = Program(tmp_path / "other")
    other("init")
    source = subprocess.Popen(
        [*disk.command, "export", "--export-format", "2", "disk", "-"],
        stdout=subprocess.PIPE,
        env=disk.environment,
    )
    sink = subprocess.run(
        [*other.command, "import", "--export-format", "2", "-", "disk"],
        stdin=source.stdout,
        capture_output=True,
        env=other.environment,
        check=False,
    )
    assert source.stdout
    source.stdout.close()
    assert (source.wait(), sink.returncode, sink.stderr) == (0, 0, b"")
    assert hashed(other, "disk") == hashed(disk, "disk")
    listed = other("snap", "ls", "disk", "--format", "json").json
    assert [(s["name"], s["protected"]) for s in listed] == [("one", "true"), ("two", "false")]
    assert other("info", "disk", "--format", "json").json["order"] == 20
    assert other("image-meta", "get", "disk", "os").text == "linux\n"


def test_through_files(disk: Program, tmp_path: Path) -> None:
    disk("export", "disk", tmp_path / "disk.rbd", "--export-format", "2")
    assert (tmp_path / "disk.rbd").read_bytes().startswith(b"rbd image v2\n")
    disk("import", tmp_path / "disk.rbd", "--export-format", "2", "--order", "22")
    assert disk("info", "disk.rbd", "--format", "json").json["order"] == 22
    assert hashed(disk, "disk.rbd") == hashed(disk, "disk")
    assert disk("export", "disk", "-", "--export-format", "1").out == disk("export", "disk", "-").out


def test_what_format_2_does_not_take(disk: Program, tmp_path: Path) -> None:
    complaint = disk.fails(22, "export", "disk@one", tmp_path / "out", "--export-format", "2")
    assert "all of them" in complaint
    assert not (tmp_path / "out").exists()
    disk.fails(22, "export", "disk", tmp_path / "out", "--export-format", "3")
    disk.fails(74, "import", "-", "copy", "--export-format", "2", stdin=CONTENT)
    whole = disk("export", "disk", "-", "--export-format", "2").out
    disk.fails(74, "import", "-", "copy", "--export-format", "2", stdin=whole[:-1])
    assert disk("ls").text == "disk\n"


def test_merged_diffs(disk: Program, tmp_path: Path) -> None:
    first, second, both = (tmp_path / name for name in ("first", "second", "both"))
    disk("export-diff", "disk@one", first)
    disk("export-diff", "disk@two", second, "--from-snap", "one")
    disk("merge-diff", first, second, both)
    assert disk("merge-diff", "-", second, "-", stdin=first.read_bytes()).out == both.read_bytes()
    assert disk("merge-diff", first, "-", "--path", "-", stdin=second.read_bytes()).out == both.read_bytes()
    disk("create", "copy", "--size", "1")
    disk("import-diff", both, "copy")
    assert disk("export", "copy", "-").out == disk("export", "disk@two", "-").out
    disk.fails(17, "merge-diff", first, second, both)


def test_what_cannot_be_merged(disk: Program, anywhere: Program, tmp_path: Path) -> None:
    first, second, out = (tmp_path / name for name in ("first", "second", "out"))
    disk("export-diff", "disk@one", first)
    disk("export-diff", "disk@two", second)
    assert "starts from no snapshot" in anywhere.fails(22, "merge-diff", first, second, out)
    assert "stdin" in anywhere.fails(22, "merge-diff", "-", "-", out)
    assert "SECOND is missing" in anywhere.fails(22, "merge-diff", first)
    anywhere.fails(74, "merge-diff", first, "-", out, stdin=b"rbd diff v1\ngarbage")
    anywhere.fails(2, "merge-diff", first, tmp_path / "nope", out)
    assert not out.exists()
