"""Loop devices, by util-linux: a block device over a file."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from cowshed.errors import IOFailure, NotFound, PermissionDenied

_SBIN = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_BLOCKS = Path("/sys/block")


def tool(name: str, package: str) -> str:
    """The path of a program. Raises NotFound with the package that has it."""
    import shutil

    found = shutil.which(name, path=_SBIN)
    if found is None:
        raise NotFound(f"there is no program '{name}' here", hint=f"Debian's package {package} has it")
    return found


def run(*words: str) -> str:
    """Run a program and return what it printed. Raises IOFailure with what it said, if it failed."""
    ended = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip() or "no words").splitlines()[-1]
        raise IOFailure(f"{Path(words[0]).name} failed: {said}")
    return ended.stdout.strip()


def attach(path: str, *, read_only: bool) -> str:
    """Make a block device of a file, with its partitions; the path of the device. Raises IOFailure, NotFound.

    Past the page cache, where that can be: what is written to the device is then in memory once, not twice.
    """
    losetup = tool("losetup", "mount")
    options = ["--find", "--show", "--partscan", *(["--read-only"] if read_only else [])]
    try:
        return run(losetup, *options, "--direct-io=on", path)
    except IOFailure:
        left = of_file(path)
        for device in left:
            detach(device)
        return run(losetup, *options, path)


def detach(device: str) -> None:
    """Let the file go: at once, or when the last one who has the device open closes it. Raises IOFailure."""
    run(tool("losetup", "mount"), "--detach", device)


def of_file(path: str) -> list[str]:
    """The loop devices over a file, by the name that the file had when they were made."""
    found = []
    for backing in _BLOCKS.glob("loop*/loop/backing_file"):
        with suppress(OSError):
            if backing.read_text().rstrip("\n") == path:
                found.append(f"/dev/{backing.parent.parent.name}")
    return found


def in_use(device: str) -> bool:
    """Whether a block device is mounted, or otherwise taken for one user alone. Raises PermissionDenied."""
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        import errno

        if isinstance(error, PermissionError):
            raise PermissionDenied(f"you may not open {device}", hint="run it as root") from None
        return error.errno == errno.EBUSY
    return False


def unmount(directory: Path) -> None:
    """Take whatever is mounted at a directory out of sight, in use or not; nothing if nothing is."""
    with suppress(IOFailure):
        run(tool("umount", "mount"), "--lazy", "--no-canonicalize", str(directory))
