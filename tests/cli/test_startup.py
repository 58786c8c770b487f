"""What is loaded to answer: a verb must not pay for what it does not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cli.conftest import Program

HEAVY = {
    "tqdm",
    "difflib",
    "hashlib",
    "subprocess",
    "tempfile",
    "socket",
    "ssl",
    "asyncio",
    "concurrent.futures",
    "importlib.metadata",
    "cowshed.transfer",
    "cowshed.formats",
    "cowshed.demo",
}


LOOK = """
import sys
from cowshed.cli.main import main
sys.argv = ["cowshed", *sys.argv[1:]]
status = main()
print(*sys.modules, file=sys.stderr)
sys.exit(status)
"""


def loaded(program: Program, *words: str) -> set[str]:
    """The modules that a command loads."""
    ended = subprocess.run(
        [sys.executable, "-c", LOOK, *words],
        capture_output=True,
        text=True,
        env=program.environment,
        check=True,
    )
    return set(ended.stderr.split())


def test_version_loads_next_to_nothing(anywhere: Program) -> None:
    ours = {name for name in loaded(anywhere, "--version") if name.startswith("cowshed")}
    assert ours == {"cowshed", "cowshed.cli", "cowshed.cli.main"}
    assert "click" not in loaded(anywhere, "--version")


def test_help_loads_no_verb(anywhere: Program) -> None:
    assert not any(name.startswith("cowshed.cli.verbs.") for name in loaded(anywhere, "--help"))


@pytest.mark.parametrize("words", ["ls", "info disk", "snap create disk@a"])
def test_quick_verbs_stay_light(cowshed: Program, words: str) -> None:
    cowshed("create", "disk", "--size", "1G")
    modules = loaded(cowshed, *words.split())
    assert modules & HEAVY == set()
    verbs = {name for name in modules if name.startswith("cowshed.cli.verbs.")}
    assert len(verbs) == 1


NOT_OVER_A_DAEMON = (HEAVY - {"socket", "ssl", "hashlib"}) | {
    "fastapi",
    "pydantic",
    "starlette",
    "uvicorn",
    "httpx",
    "cowshed._kernel",
    "cowshed.local",
    "cowshed.remote.image",
    "cowshed.serve",
}
"""What a verb that asks a daemon has no use for; http.client itself loads the three that are left out."""


@pytest.mark.parametrize("served", [True], indirect=True)
@pytest.mark.parametrize("words", ["ls", "info disk", "snap create disk@a"])
def test_quick_verbs_stay_light_over_a_daemon(cowshed: Program, words: str) -> None:
    cowshed("create", "disk", "--size", "1G")
    modules = loaded(cowshed, *words.split())
    assert modules & NOT_OVER_A_DAEMON == set()
    assert "cowshed.remote.store" in modules
