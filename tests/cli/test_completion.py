"""Completion: what the shell's scripts get, and that they are scripts of that shell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cli.conftest import Program


@pytest.fixture(autouse=True)
def family(cowshed: Program) -> None:
    cowshed("create", "disk1", "--size", "1")
    cowshed("create", "disk2", "--size", "1")
    cowshed("snap", "create", "disk1@monday")
    cowshed("pool", "create", "vms")
    cowshed("create", "vms/web", "--size", "1")


def completed(program: Program, line: str) -> list[str]:
    ended = program.run(env={"_COWSHED_COMPLETE": "bash_complete", "COMP_WORDS": line})
    assert ended.status == 0, ended.err
    return [answer.partition(",")[2] for answer in ended.text.splitlines() if answer]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cowshed inf", ["info"]),
        ("cowshed snap pro", ["protect"]),
        ("cowshed info ", ["disk1", "disk2", "vms/"]),
        ("cowshed info disk1", ["disk1"]),
        ("cowshed info vms/", ["vms/web"]),
        ("cowshed info disk1@", ["disk1@monday"]),
        ("cowshed info disk1@m", ["disk1@monday"]),
        ("cowshed info disk1@x", []),
        ("cowshed info nothing@", []),
        ("cowshed info a/b/c/d@", []),
        ("cowshed info disk1 ", []),
        ("cowshed snap rm ", ["disk1@", "disk2@", "vms/"]),
        ("cowshed mv disk1 ", ["disk1", "disk2", "vms/"]),
        ("cowshed pool stats v", ["vms"]),
        ("cowshed ls --form", ["--format"]),
        ("cowshed ls --format ", ["plain", "json", "xml"]),
        ("cowshed export disk1 /tm", ["/tm"]),
        ("cowshed merge-diff a /tm", ["/tm"]),
        ("cowshed nonsense ", []),
    ],
)
def test_what_is_offered(cowshed: Program, line: str, expected: list[str]) -> None:
    assert completed(cowshed, line) == expected


def test_without_a_store_there_is_nothing(anywhere: Program) -> None:
    assert completed(anywhere, "cowshed info ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_scripts(anywhere: Program, tmp_path: Path, shell: str) -> None:
    script = tmp_path / "script"
    script.write_bytes(anywhere("completion", shell).out)
    assert "_COWSHED_COMPLETE" in script.read_text()
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not there to read its script")
    subprocess.run([shell, "-n", script], check=True)


def test_bash_itself(cowshed: Program, tmp_path: Path) -> None:
    """The script as readline calls it: `@` breaks words, and only what is behind it is replaced."""
    program = tmp_path / "cowshed"
    program.write_text(f'#!/bin/sh\nexec {" ".join(cowshed.command)} "$@"\n')
    program.chmod(0o755)
    (tmp_path / "script").write_bytes(cowshed("completion", "bash").out)
    ask = """
        . ./script
        compopt() { :; }
        COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \\t\\n@'
        _cowshed_completion ./cowshed
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    for line, expected in (("cowshed info disk1@mo", "monday"), ("cowshed info vms/w", "vms/web")):
        ended = subprocess.run(
            ["bash", "-c", ask, "bash", line],
            cwd=tmp_path,
            env=cowshed.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (ended.stdout, ended.stderr) == (f"{expected}\n", "")


def test_a_shell_that_is_not_known(anywhere: Program) -> None:
    assert "bash, zsh, fish" in anywhere.fails(22, "completion", "tcsh")
