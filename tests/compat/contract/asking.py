"""Ask a pair of modules all expectations, in a process of its own; and what was once answered, which is
kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cowshed

HERE = Path(__file__).resolve().parent
PACKAGE = Path(cowshed.__file__).resolve().parent
# What the real cluster answered, and cowshed: docs/compat.md is made from it.
RECORDED = HERE / "answers.json"
COWSHED_MODULES = PACKAGE / "compat" / "modules"
# Debian's modules are made for Debian's interpreter.
REAL_PYTHON = "/usr/bin/python3"
WITHIN = 600


class NotAsked(Exception):
    """The run did not come to its end; the message holds what it said."""


def ask_real(conf: Path) -> dict[str, Any]:
    """Surface and answers of the real modules with the cluster of this ceph.conf. Raises `NotAsked`."""
    return _ask([REAL_PYTHON], conf, {"PYTHONPATH": str(HERE.parent)})


def real_version() -> str:
    """Of the Ceph that is installed here, such as `16.2.15`."""
    said = subprocess.run(["ceph", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split()[2]


def ask_cowshed(conf: Path) -> dict[str, Any]:
    """Those of cowshed's modules with the store that this ceph.conf names. Raises `NotAsked`."""
    paths = os.pathsep.join(map(str, (HERE.parent, COWSHED_MODULES, PACKAGE.parent)))
    return _ask([sys.executable], conf, {"PYTHONPATH": paths})


def conf_of_store(directory: Path, store: Path) -> Path:
    """A ceph.conf in `directory` that names a store."""
    conf = directory / "ceph.conf"
    conf.write_text(f"[global]\ncowshed = {store}\n")
    return conf


def _ask(python: list[str], conf: Path, environment: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "answers.json"
        words = [*python, "-m", "contract.run", "--conf", str(conf), "--out", str(out)]
        given = {name: value for name, value in os.environ.items() if not name.startswith(("CEPH", "PYTHON"))}
        done = subprocess.run(
            words, env=given | environment, capture_output=True, text=True, timeout=WITHIN, check=False
        )
        if done.returncode != 0 or not out.exists():
            raise NotAsked(f"`{' '.join(words)}` ended with {done.returncode}:\n{done.stderr[-4000:]}")
        answers: dict[str, Any] = json.loads(out.read_text())
        return answers
