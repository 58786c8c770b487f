"""What the package offers at its top, and what importing it costs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
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


def test_the_programs_that_are_installed_can_be_run() -> None:
    """Where the package is installed from a wheel, this is the wheel's doing."""
    programs = sorted((Path(cowshed.__file__).parent / "compat" / "bin").iterdir())
    assert [program.name for program in programs] == ["ceph", "qemu-img", "rbd"]
    for program in programs:
        assert os.access(program, os.X_OK)
        # Found by its place alone, with the interpreter of whoever asks.
        environment = {"PATH": os.environ["PATH"], "COWSHED_PYTHON": sys.executable}
        subprocess.run([program, "--version"], env=environment, check=True, capture_output=True)


def test_the_programs_of_a_source_distribution_can_be_run(tmp_path: Path) -> None:
    """A wheel that is made of it has what it has. Nothing is compiled for it."""
    if importlib.util.find_spec("maturin") is None:
        pytest.skip("maturin is not installed (pip install 'cowshed[test]')")
    script = f"import backend; print(backend.build_sdist({str(tmp_path)!r}))"
    environment = {**os.environ, "PYTHONPATH": str(PYTHON.parent / "packaging")}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PYTHON.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    with tarfile.open(tmp_path / done.stdout.split()[-1]) as archive:
        members = {name.split("/", 1)[1]: archive.getmember(name) for name in archive.getnames()}
    modes = {name: member.mode & 0o777 for name, member in members.items() if "compat/bin/" in name}
    assert modes == {f"python/cowshed/compat/bin/{name}": 0o755 for name in ("ceph", "qemu-img", "rbd")}
    # With what builds it, and no more than before.
    assert {"packaging/backend.py", "pyproject.toml", "python/cowshed/py.typed"} <= members.keys()
    assert members["pyproject.toml"].mode & 0o111 == 0
