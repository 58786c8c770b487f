"""ext4 in image files: made, replayed, checked and read, by e2fsprogs and by this machine's kernel."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from guest.records import Tree

TOOLS = ["mke2fs", "e2fsck", "debugfs"]
_ENVIRONMENT = {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LC_ALL": "C"}

# What e2fsck says of a file system that was sound when its machine stopped. Files that were unlinked or
# truncated at that moment are on the list of orphans, which is part of the journal's work. The totals of what
# is free (not the groups' counts) are written when the file system is unmounted; a mount sums them up anew.
_HARMLESS = re.compile(
    r"e2fsck \d.*|.*: recovering journal|Pass \d.*|.*\d+/\d+ files .*|"
    r"Clearing orphaned inode .*|Truncating orphaned inode .*|"
    r"Free (blocks|inodes) count wrong \(\d+, counted=\d+\)\.|Fix\? yes|"
    r".*\*\*\* FILE SYSTEM WAS MODIFIED \*\*\*.*|\s*"
)


class Unsound(Exception):
    """The file system is not whole; the text is what e2fsck said."""


def make(image: Path, tree: Path, size: int) -> None:
    """An ext4 file system of `size` bytes with the files of `tree`, and the smallest journal there is."""
    options = ["-q", "-F", "-t", "ext4", "-b", "4096", "-N", "4096", "-m", "0", "-J", "size=4"]
    extended = "root_owner=0:0,lazy_itable_init=0,nodiscard"
    _run("mke2fs", *options, "-E", extended, "-d", str(tree), str(image), f"{size // 1024}k")


def replay(image: Path) -> bool:
    """Let e2fsck replay the journal, and check that nothing else is to be done. Raises Unsound.

    Says whether there was anything to replay.
    """
    done = _command("e2fsck", "-f", "-y", str(image))
    lines = done.stdout.splitlines()
    wrong = [line for line in lines if not _HARMLESS.fullmatch(line)]
    if done.returncode not in (0, 1) or wrong:
        raise Unsound(f"e2fsck -fy ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    check(image)
    return any(line.endswith(": recovering journal") for line in lines)


def check(image: Path) -> None:
    """Check that a file system has nothing to be replayed or repaired. Raises Unsound."""
    done = _command("e2fsck", "-f", "-n", str(image))
    if done.returncode:
        raise Unsound(f"e2fsck -fn ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def files(image: Path, directories: list[str]) -> Tree:
    """The regular files in some directories, read by debugfs: of a file system whose journal is empty."""
    with tempfile.TemporaryDirectory(dir=image.parent) as place:
        debugfs(image, f'rdump {" ".join(directories)} "{place}"')
        return files_below(Path(place), directories)


def files_below(place: Path, directories: list[str]) -> Tree:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for directory in directories
        for path in sorted((place / directory).rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def blocks(image: Path, path: str) -> list[int]:
    """Where the data of a file lies, in blocks of 4096 bytes."""
    extents = re.findall(r"(\d+) -\s+\d+\s+(\d+)\s*\n", debugfs(image, f'dump_extents -l "{path}"'))
    return [int(first) + index for first, length in extents for index in range(int(length))]


def debugfs(image: Path, request: str, *, write: bool = False) -> str:
    return _run("debugfs", *(["-w"] if write else []), "-R", request, str(image))


def copy(image: Path, place: Path) -> Path:
    """A copy to be replayed or mounted, which changes it; holes stay holes."""
    _run("cp", "--sparse=always", str(image), str(place))
    return place


@contextmanager
def mounted(image: Path) -> Iterator[Path]:
    """Mount a file system, by which the kernel replays its journal, and unmount it. Needs `can_mount`."""
    place = Path(tempfile.mkdtemp(dir=image.parent))
    try:
        _run("mount", "-t", "ext4", "-o", "loop", str(image), str(place))
        try:
            yield place
        finally:
            _run("umount", str(place))
    finally:
        place.rmdir()


@functools.cache
def can_mount() -> bool:
    """Whether this process may mount image files here."""
    if os.geteuid() or missing_tools():
        return False
    with tempfile.TemporaryDirectory() as place:
        image, empty = Path(place) / "image", Path(place) / "empty"
        empty.mkdir()
        make(image, empty, 16 << 20)
        try:
            with mounted(image):
                return True
        except subprocess.CalledProcessError:
            return False


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if not shutil.which(tool, path=_ENVIRONMENT["PATH"])]


def _run(*command: str) -> str:
    done = _command(*command)
    done.check_returncode()
    return done.stdout


def _command(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
