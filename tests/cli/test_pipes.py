"""stdin, stdout and files: `-`, closed pipes, full disks, nothing overwritten."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pytest

from cli.conftest import Program

CONTENT = random.Random(1).randbytes(1 << 20) + bytes(3 << 20) + b"the end"


@pytest.fixture
def disk(cowshed: Program, tmp_path: Path) -> Program:
    """`disk` with a known content."""
    (tmp_path / "disk.raw").write_bytes(CONTENT)
    cowshed("import", tmp_path / "disk.raw", "disk")
    return cowshed


def test_through_stdout_and_stdin(disk: Program) -> None:
    assert disk("export", "disk", "-").out == CONTENT
    disk("import", "-", "copy", stdin=CONTENT)
    assert disk("export", "copy", "-").out == CONTENT


def test_one_pipe_between_two_stores(disk: Program, tmp_path: Path) -> None:
    other = Program(tmp_path / "other")
    other("init")
    source = subprocess.Popen(
        [*disk.command, "export", "disk", "-"], stdout=subprocess.PIPE, env=disk.environment
    )
    sink = subprocess.run(
        [*other.command, "import", "-", "disk"],
        stdin=source.stdout,
        capture_output=True,
        env=other.environment,
        check=False,
    )
    assert source.stdout
    source.stdout.close()
    assert (source.wait(), sink.returncode, sink.stderr) == (0, 0, b"")
    assert other("export", "disk", "-").out == CONTENT


def test_sparse_file(disk: Program, tmp_path: Path) -> None:
    disk("export", "disk", tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == CONTENT
    assert (tmp_path / "out.raw").stat().st_blocks * 512 < 2 << 20


def test_backup_and_restore(disk: Program, tmp_path: Path) -> None:
    disk("snap", "create", "disk@one")
    full = disk("export", "disk@one", "-").out
    disk("bench", "disk", "--io-type", "write", "--io-pattern", "rand", "--io-total", "128K")
    disk("snap", "create", "disk@two")
    changes = disk("export-diff", "disk@two", "-", "--from-snap", "one").out
    assert changes.startswith(b"rbd diff v1\n")
    assert len(changes) < 160 << 10
    disk("import", "-", "restored", stdin=full)
    disk.fails(22, "import-diff", "-", "restored", stdin=changes)
    disk("snap", "create", "restored@one")
    disk("import-diff", "-", "restored", stdin=changes)
    assert hashlib.sha256(disk("export", "restored@two", "-").out).hexdigest() == (
        hashlib.sha256(disk("export", "disk@two", "-").out).hexdigest()
    )


def test_damaged_diffs(disk: Program) -> None:
    disk.fails(74, "import-diff", "-", "disk", stdin=b"no such thing")
    disk.fails(74, "import-diff", "-", "disk", stdin=b"")
    disk("snap", "create", "disk@one")
    whole = disk("export-diff", "disk@one", "-").out
    disk("create", "copy", "--size", "1")
    disk.fails(74, "import-diff", "-", "copy", stdin=whole[:-1000])
    assert disk("snap", "ls", "copy").out == b""
    assert disk("info", "copy", "--format", "json").json["size"] == 1 << 20


def test_nothing_is_overwritten(disk: Program, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    for verb in ("export", "export-diff"):
        disk.fails(17, verb, "disk", tmp_path / "precious")
    assert (tmp_path / "precious").read_text() == "precious"
    disk.fails(17, "export", "disk", tmp_path)
    disk.fails(2, "export", "disk", tmp_path / "no" / "such")


def test_devices_can_be_written(disk: Program) -> None:
    disk("export", "disk", "/dev/null")


def test_a_failed_export_leaves_no_file(disk: Program, tmp_path: Path) -> None:
    disk.fails(2, "export-diff", "disk", tmp_path / "out", "--from-snap", "nope")
    assert not (tmp_path / "out").exists()


def test_a_failed_import_leaves_no_image(disk: Program, tmp_path: Path) -> None:
    disk.fails(22, "import", tmp_path, "folder")
    disk.fails(17, "import", tmp_path / "disk.raw", "disk")
    disk.fails(2, "import", tmp_path / "nope", "nope")
    assert disk("ls").text == "disk\n"


def test_import_takes_the_files_name(disk: Program, tmp_path: Path) -> None:
    disk("import", tmp_path / "disk.raw")
    disk("pool", "create", "images")
    disk("import", tmp_path / "disk.raw", "--dest-pool", "images")
    disk("import", "--path", tmp_path / "disk.raw", "-p", "images", "--dest", "second")
    assert disk("ls").text == "disk\ndisk.raw\n"
    assert disk("ls", "images").text == "disk.raw\nsecond\n"


def test_a_closed_pipe_is_silent(disk: Program) -> None:
    script = '"$@" | head -c 100 >/dev/null; echo ${PIPESTATUS[0]}'
    ended = subprocess.run(
        ["bash", "-c", script, "-", *disk.command, "export", "disk", "-"],
        capture_output=True,
        env=disk.environment,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr) == ("141\n", "")


def test_a_full_disk_is_told(disk: Program) -> None:
    for words in (["ls"], ["export", "disk", "-"]):
        with Path("/dev/full").open("wb") as full:
            ended = subprocess.run(
                [*disk.command, *words],
                stdout=full,
                stderr=subprocess.PIPE,
                env=disk.environment,
                check=False,
            )
        assert ended.returncode == 28
        assert ended.stderr.startswith(f"cowshed: {words[0]}: ".encode())
        assert b"Traceback" not in ended.stderr
        assert b"Exception ignored" not in ended.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_streams(disk: Program, closed: str) -> None:
    ended = subprocess.run(
        ["bash", "-c", f'"$@" {closed}', "-", *disk.command, "ls"],
        capture_output=True,
        env=disk.environment,
        check=False,
    )
    assert ended.returncode == 0
    assert ended.stderr == b""


def test_import_from_no_stdin(disk: Program) -> None:
    ended = subprocess.run(
        ["bash", "-c", '"$@" <&-', "-", *disk.command, "import", "-", "x"],
        capture_output=True,
        env=disk.environment,
        check=False,
    )
    assert ended.returncode == 22
    assert b"stdin" in ended.stderr


def test_terminals_get_no_disk_images(disk: Program) -> None:
    ours, theirs = os.openpty()
    try:
        ended = subprocess.run(
            [*disk.command, "export", "disk", "-"],
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=disk.environment,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert ended.returncode == 22
    assert b"terminal" in ended.stderr


def test_names_beyond_the_terminals_encoding(disk: Program) -> None:
    disk("create", "größe-大", "--size", "1")
    assert "größe-大" in disk("ls").text
    ended = disk.run("ls", env={"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"})
    assert (ended.status, ended.err) == (0, "")
    assert b"gr\\xf6\\xdfe-\\u5927" in ended.out
