"""Other people's programs, run to their end."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping

import pytest

PACKAGES = {
    "nbdinfo": "libnbd-bin",
    "nbdcopy": "libnbd-bin",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "fio": "fio",
    "setpriv": "util-linux",
}
SYSTEM_PYTHON = "/usr/bin/python3"


def run(*words: object, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
    """What it printed; it must succeed."""
    ended = attempt(*words, stdin=stdin, env=env)
    assert ended.returncode == 0, f"{words[0]} ended with {ended.returncode}: {ended.stderr or ended.stdout}"
    return ended.stdout


def attempt(
    *words: object, stdin: bytes = b"", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """However it ends. Skips the test where the program is not there."""
    program = str(words[0])
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not there (apt-get install {PACKAGES[program]})")
    return subprocess.run(
        [str(word) for word in words],
        input=stdin.decode(),
        capture_output=True,
        env=env,
        text=True,
        check=False,
        timeout=60,
    )


def need_libnbd() -> None:
    """Skip the test where the system's Python has no libnbd."""
    try:
        subprocess.run([SYSTEM_PYTHON, "-c", "import nbd"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"{SYSTEM_PYTHON} has no libnbd (apt-get install python3-libnbd)")
