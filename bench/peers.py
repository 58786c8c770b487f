"""What else there is on this machine to compare with: qcow2 by qemu's tools, reflinks by XFS and btrfs."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "nbdkit": "nbdkit",
    "nbdcopy": "libnbd-bin",
    "fio": "fio",
    "mkfs.xfs": "xfsprogs",
    "mkfs.btrfs": "btrfs-progs",
}
"""The program that each peer needs, and the Debian package that has it."""
FICLONE = 0x40049409
"""ioctl(2): let one file share all of another's blocks; what `cp --reflink=always` does."""
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Missing(Exception):
    """A peer that is not to be had here; says why."""


class Peers:
    """Finds the peers and remembers which were missing."""

    def __init__(self) -> None:
        self._reasons: dict[str, None] = {}
        for program in PACKAGES:
            if not shutil.which(program, path=_PATH):
                self.lacks(f"{program} is missing: apt-get install {PACKAGES[program]}")
        if os.geteuid() != 0:
            self.lacks("not root: no loop-mounted XFS or btrfs to compare reflinks with")

    @property
    def missing(self) -> list[str]:
        """Why some peers have no figures."""
        return list(self._reasons)

    def lacks(self, reason: str) -> None:
        """Something is not here, and so has no figures."""
        self._reasons[reason] = None

    def program(self, name: str) -> str:
        """Where it is. Raises Missing."""
        found = shutil.which(name, path=_PATH)
        if found is None:
            raise Missing(f"needs {PACKAGES[name]}")
        return found

    # --- qcow2

    def qemu_img(self, *arguments: str | Path) -> None:
        """Run `qemu-img`. Raises Missing."""
        self._run([self.program("qemu-img"), *map(str, arguments)])

    def qemu_io(self, image: Path, commands: Iterable[str]) -> float:
        """The seconds that one `qemu-io` takes for all the commands, its start included. Raises Missing."""
        script = "".join(f"{command}\n" for command in [*commands, "quit"])
        program = self.program("qemu-io")
        start = time.perf_counter()
        self._run([program, "-t", "writeback", "-f", "qcow2", str(image)], script)
        return time.perf_counter() - start

    # --- NBD

    def fio(self, uri: str, *options: str) -> float:
        """Operations in a second, of fio's nbd engine. Raises Missing."""
        fixed = ["--name=x", "--ioengine=nbd", f"--uri={uri}", "--group_reporting"]
        fixed += ["--randrepeat=0", "--output-format=json"]
        done = self._run([self.program("fio"), *fixed, *options])
        report = json.loads(done[done.index("{") :])["jobs"][0]
        return float(report["read"]["iops"] + report["write"]["iops"])

    def nbdcopy(self, source: str, target: str) -> None:
        """Run `nbdcopy`. Raises Missing."""
        self._run([self.program("nbdcopy"), source, target])

    # --- file systems in a file

    @contextmanager
    def mounted(self, kind: str, backing: Path, size: int) -> Iterator[Path]:
        """A fresh XFS or btrfs of `size` bytes in the file `backing`, loop-mounted. Raises Missing."""
        if os.geteuid() != 0:
            raise Missing("needs root")
        options = ["-q", "-m", "reflink=1"] if kind == "xfs" else ["-q"]
        make = self.program(f"mkfs.{kind}")
        with backing.open("wb") as file:
            file.truncate(size)
        place = backing.with_suffix(".mnt")
        place.mkdir()
        try:
            try:
                self._run([make, *options, str(backing)])
                self._run(["mount", "-t", kind, "-o", "loop", str(backing), str(place)])
            except subprocess.CalledProcessError as error:
                said = str(error.stderr).strip().splitlines()
                self.lacks(f"no {kind} to mount here: {said[-1] if said else error}")
                raise Missing("cannot be mounted") from None
            try:
                yield place
            finally:
                self._run(["umount", str(place)])
        finally:
            if not place.is_mount():
                place.rmdir()
                backing.unlink()

    def _run(self, command: list[str], said: str = "") -> str:
        return subprocess.run(command, input=said, text=True, capture_output=True, check=True).stdout


def reflink(source: Path, target: Path) -> None:
    """A durable copy by shared blocks: the file and its name are synced."""
    with source.open("rb") as old, target.open("wb") as new:
        fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        os.fsync(new.fileno())
    sync_directory(target.parent)


def sync_directory(path: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
