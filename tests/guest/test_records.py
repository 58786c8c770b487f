"""The guest's scripts write what `records` says, and say so: run here, without a guest."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from guest.records import NAMES, WRITERS, Tree, Writer, record, step

INSIDE = Path(__file__).with_name("inside")
BUSYBOX = shutil.which("busybox")
SESSION = 3

pytestmark = pytest.mark.skipif(BUSYBOX is None, reason="busybox is missing (Debian: busybox-static)")


def run(script: str, arguments: list[object], place: Path) -> list[str]:
    """Run a script of the guest's in `place`; the lines that it says to the host."""
    assert BUSYBOX
    place.mkdir(exist_ok=True)
    epoch = place.parent / "epoch"
    epoch.write_text("17\n")
    read_end, write_end = os.pipe()
    command = [
        BUSYBOX,
        "sh",
        "-c",
        f'exec 3>&{write_end}; . "$0"',
        str(INSIDE / script),
        *map(str, arguments),
    ]
    with os.fdopen(read_end) as port:
        try:
            subprocess.run(
                command, cwd=place, check=True, pass_fds=[write_end], env={"EPOCH": str(epoch)}, timeout=60
            )
        finally:
            os.close(write_end)
        return port.read().splitlines()


def tree_of(place: Path) -> Tree:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def says(writer: int, count: int) -> list[str]:
    return [f"durable {SESSION} {writer} {number} 17" for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("writer", "how"), [(WRITERS[0], "fsync"), (WRITERS[1], "fdatasync"), (WRITERS[2], "dd")]
)
def test_a_log(tmp_path: Path, writer: Writer, how: str) -> None:
    place = tmp_path / "log"
    said = run("log", [SESSION, writer.number, writer.lines, how, 5], place)
    expected = b"".join(record(SESSION, writer, number, 17) for number in range(5))
    assert tree_of(place) == {str(writer.number): expected}
    assert said == says(writer.number, 5)


def test_a_ring(tmp_path: Path) -> None:
    writer = WRITERS[3]
    place = tmp_path / "ring"
    said = run("ring", [SESSION, writer.number, writer.lines, writer.slots, writer.slots + 3], place)
    numbers = [16, 17, 18, *range(3, 16)]
    expected = b"".join(record(SESSION, writer, number, 17) for number in numbers)
    assert tree_of(place) == {str(writer.number): expected}
    assert said == says(writer.number, writer.slots + 3)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5, 6, 11, 12, 60])
def test_names(tmp_path: Path, steps: int) -> None:
    place = tmp_path / "names"
    said = run("names", [SESSION, NAMES, steps], place)
    tree: Tree = {}
    for number in range(steps):
        tree = step(SESSION, tree, number)
    assert tree_of(place) == tree
    assert said == says(NAMES, steps)
