"""docs/rest.md: the table is current, and the examples do what they show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from serve.serving import Served

ROOT = Path(__file__).resolve().parents[2]
END = "\x1e"


def examples() -> list[tuple[str, str]]:
    """Commands, and what they write; `…` stands for anything."""
    found: list[tuple[str, str]] = []
    for block in re.findall(r"```console\n(.*?)```", (ROOT / "docs" / "rest.md").read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif found[-1][0].endswith("\\"):
                found[-1] = (f"{found[-1][0]}\n{line}", "")
            else:
                found[-1] = (found[-1][0], found[-1][1] + line)
    return found


def test_the_page_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "rest_page", "--check"], check=False)
    assert done.returncode == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples(here: Served) -> None:
    shown = examples()
    assert len(shown) > 12
    script = "".join(f"{command}\nprintf '{END}'\n" for command, _ in shown)
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "SOCKET": here.path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    said = done.stdout.split(END)
    for (command, expected), got in zip(shown, said, strict=False):
        pattern = ".*".join(map(re.escape, expected.split("…")))
        assert re.fullmatch(pattern, got.strip()), (command, got)
    assert len(said) == len(shown) + 1
