"""The real program, run as people run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model.kernel_module import REAL


@dataclass
class Ended:
    """How a command ended."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """What it printed."""
        return self.out.decode()

    @property
    def json(self) -> Any:
        """What it printed, read as json."""
        return json.loads(self.out)


class Program:
    """`cowshed` on one store. Calling it expects success; `fails` expects the given status."""

    def __init__(self, store: Path) -> None:
        self.store = store

    @property
    def command(self) -> list[str]:
        """The words that start it."""
        return [sys.executable, "-m", "cowshed"]

    @property
    def environment(self) -> dict[str, str]:
        """What it is started with: this store, and nothing of the user's that changes what is printed."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COWSHED_", "LC_", "LANG"))}
        return {**kept, "COWSHED_STORE": str(self.store), "PYTHONUTF8": "1", "COLUMNS": "100"}

    def run(self, *words: object, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Ended:
        """Run it, however it ends."""
        ended = subprocess.run(
            [*self.command, *map(str, words)],
            input=stdin,
            capture_output=True,
            env={**self.environment, **(env or {})},
            check=False,
            timeout=120,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr.decode())

    def __call__(self, *words: object, stdin: bytes = b"") -> Ended:
        """Run it and expect success, without a word on stderr."""
        ended = self.run(*words, stdin=stdin)
        assert (ended.status, ended.err) == (0, "")
        return ended

    def fails(self, status: int, *words: object, stdin: bytes = b"") -> str:
        """Run it and expect this status and a complaint as people should get it, which is returned."""
        ended = self.run(*words, stdin=stdin)
        assert ended.status == status, ended.err
        assert ended.err.startswith("cowshed: ")
        assert "Traceback" not in ended.err
        assert "mistake in cowshed" not in ended.err
        return ended.err


@pytest.fixture
def anywhere(tmp_path: Path) -> Program:
    """The program, with a store named that is not there. Needs no kernel."""
    return Program(tmp_path / "missing")


SERVED_TOO = ("cli.test_flows", "cli.test_nouns", "cli.test_streams")
"""The modules whose tests run twice: on a store that is opened directly, and on one that a daemon serves."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "served" in metafunc.fixturenames and metafunc.module.__name__ in SERVED_TOO:
        metafunc.parametrize("served", [False, True], ids=["directly", "served"], indirect=True)


@pytest.fixture
def served(request: pytest.FixtureRequest) -> bool:
    """Whether the program's store is served by a daemon."""
    return getattr(request, "param", False)


@pytest.fixture
def cowshed(tmp_path: Path, served: bool) -> Iterator[Program]:
    """The program, with an empty store."""
    if not REAL:
        pytest.skip("cowshed._kernel is not built: the program cannot open a store")
    program = Program(tmp_path / "store")
    program("init")
    from remote.daemon import ServedStore  # needs the compiled kernel

    with ServedStore(program.store) if served else nullcontext():
        yield program
