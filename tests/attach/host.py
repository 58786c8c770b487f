"""What these tests need of the host, and in which words they skip where it is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SBIN = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def _reason() -> str:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs /dev/fuse, to read and to write"
    if os.geteuid() != 0 and shutil.which("fusermount3") is None:
        return "needs root, or fusermount3 (apt-get install fuse3)"
    return ""


def _block_reason() -> str:
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/dev/loop-control").exists():
        return "needs loop devices (/dev/loop-control)"
    return _reason()


needs_fuse = pytest.mark.skipif(bool(_reason()), reason=_reason())
needs_blocks = pytest.mark.skipif(bool(_block_reason()), reason=_block_reason())


def tool(name: str, package: str) -> str:
    """The path of a program, or the test is skipped with the name of the package."""
    found = shutil.which(name, path=SBIN)
    if found is None:
        pytest.skip(f"no {name} here (apt-get install {package})")
    return found


def run(*words: object, fails: bool | None = False) -> str:
    """Run a program to its end, and return what it said; `fails` is whether it must fail, None for either."""
    ended = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, check=False, env={**os.environ, "PATH": SBIN}
    )
    assert fails is None or bool(ended.returncode) == fails, f"{words}: {ended.stdout}{ended.stderr}"
    return ended.stdout + (ended.stderr if fails else "")
