"""What the package offers at its top, and what importing it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import cowshed

PYTHON = Path(__file__).resolve().parent.parent / "python"


def test_the_names_at_the_top() -> None:
    assert cowshed.__all__ == [
        "CowshedError",
        "Image",
        "ImageSpec",
        "SnapSpec",
        "Store",
        "__version__",
        "init",
        "open",
    ]
    assert dir(cowshed) == sorted(cowshed.__all__)
    for name in cowshed.__all__:
        assert getattr(cowshed, name) is not None


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        cowshed.nothing  # noqa: B018


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after running `code`."""
    script = f"import sys; before = set(sys.modules); {code}; print(*sorted(set(sys.modules) - before))"
    path = os.pathsep.join([str(PYTHON), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_else() -> None:
    assert loaded_by("import cowshed; cowshed.__version__") <= {
        "cowshed",
        "typing",
        "__future__",
    } | loaded_by("import typing")


def test_the_interface_is_light() -> None:
    heavy = {
        "asyncio",
        "concurrent.futures",
        "logging",
        "subprocess",
        "socket",
        "pathlib",
        "tempfile",
        "json",
    }
    assert loaded_by("import cowshed.store, cowshed.opening") & heavy == set()
