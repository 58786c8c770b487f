"""Bad input: a status, a line that says what is the matter, and never a traceback."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from cli.conftest import Program
from model.kernel_module import REAL


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--bogus", "no such option"),
        ("ls --bogus", "ls: no such option"),
        ("ls --format yaml", "ls: invalid value for '--format'"),
        ("create a", "create: missing option"),
        ("create a@b --size 1", "names a snapshot"),
        ("create a --size x", "'x' is not a size"),
        ("create a --size 99999999999999999999", "larger than any disk"),
        ("create a --size 1 --object-size 3K", "not a power of two"),
        ("create a --size 1 --object-size 4M --order 20", "contradict"),
        ("create a/b/c/d --size 1", "too many parts"),
        ("create a//b --size 1", "empty part"),
        ("create -p x y/z --size 1", "--pool says 'x'"),
        ("info a b", "one argument too many"),
        ("snap create a", "names no snapshot"),
        ("clone a@s", "DEST-IMAGE is missing"),
        ("import", "PATH is missing"),
        ("import -", "needs a name"),
        ("export a", "PATH is missing"),
        ("bench a", "missing option"),
        ("bench a --io-type write --io-threads 0", "invalid value"),
        ("bench a@s --io-type write", "cannot be written"),
        ("--lock-wait -1 ls", "invalid value"),
        ("demo --snapshots 3", "invalid value"),
    ],
)
def test_usage(anywhere: Program, words: str, complaint: str) -> None:
    assert complaint in anywhere.fails(22, *words.split())


def test_no_store(anywhere: Program, tmp_path: Path) -> None:
    anywhere.store = Path()
    ended = anywhere.run("ls", env={"COWSHED_STORE": ""})
    assert ended.status == 22
    assert ended.err.startswith("cowshed: ls: no store is named\n  hint: ")


def test_missing_store(cowshed: Program, tmp_path: Path) -> None:
    assert str(tmp_path / "nope") in cowshed.fails(2, "--store", tmp_path / "nope", "ls")
    cowshed.fails(93, "--store", "gopher://x", "ls")


def test_what_is_no_store(cowshed: Program, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    (tmp_path / "empty").mkdir()
    for name in ("file", "empty"):
        ended = cowshed.run("--store", tmp_path / name, "ls")
        assert ended.status not in (0, 1)
        assert "Traceback" not in ended.err


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """A store with `disk` and its protected snapshot `s`; what fails does not change it."""
    if not REAL:
        pytest.skip("cowshed._kernel is not built: the program cannot open a store")
    program = Program(tmp_path_factory.mktemp("furnished") / "store")
    program("init")
    program("create", "disk", "--size", "8M")
    program("snap", "create", "disk@s")
    program("snap", "protect", "disk@s")
    return program


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (2, "info nope"),
        (2, "info nope/disk"),
        (2, "ls nope"),
        (2, "rm nope"),
        (2, "snap rm disk@nope"),
        (2, "snap create nope@s"),
        (2, "clone disk@nope child"),
        (2, "clone disk@s nope/child"),
        (2, "tree nope"),
        (2, "du nope"),
        (2, "export nope out"),
        (2, "import /nonexistent/file x"),
        (17, "create disk --size 1"),
        (17, "snap create disk@s"),
        (17, "pool create rbd"),
        (16, "snap rm disk@s"),
        (16, "snap protect disk@s"),
        (39, "rm disk"),
        (39, "pool rm rbd"),
        (22, "flatten disk"),
        (22, "mv disk other/disk"),
        (22, "resize disk --size 1"),
        (22, "create big --size 1E"),
        (22, "create odd --size 1 --order 5"),
    ],
)
def test_statuses(furnished: Program, status: int, words: str) -> None:
    complaint = furnished.fails(status, *words.split())
    verb = " ".join(words.split()[:2]) if words.startswith(("snap ", "pool ")) else words.split()[0]
    assert complaint.startswith(f"cowshed: {verb}: ")


def test_an_owned_store_names_its_owner(cowshed: Program) -> None:
    cowshed("create", "disk", "--size", "64M")
    words = ["bench", "disk", "--io-type", "write", "--io-total", "1P"]
    running = subprocess.Popen(
        [*cowshed.command, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=cowshed.environment,
        # Whoever runs the tests in the background of a shell has it ignored, and hands that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert running.stdout
    assert running.stdout.readline()
    try:
        complaint = cowshed.fails(11, "--lock-wait", "0", "ls")
        assert str(running.pid) in complaint
        assert "cowshed bench" in complaint
    finally:
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err == "cowshed: bench: interrupted\n"
    assert cowshed("check").status == 0


def test_check_lists_and_fails(cowshed: Program) -> None:
    cowshed("create", "disk", "--size", "8M")
    cowshed("bench", "disk", "--io-type", "write", "--io-total", "4M")
    with (cowshed.store / "catalog").open("r+b") as file:
        content = bytearray(file.read())
        for at in range(0, len(content), 512):
            content[at] ^= 0xFF
        file.seek(0)
        file.write(content)
    ended = cowshed.run("check")
    assert ended.status not in (0, 1, 139)
    assert "Traceback" not in ended.err
    assert ended.err.startswith("cowshed: check: ")
