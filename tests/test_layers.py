"""The layers of the design: a module imports from its own layer's room and from below, never upwards."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "python" / "cowshed"

# From the bottom up. Rooms on one line do not know each other.
LAYERS: list[set[str]] = [
    {"errors"},
    {"_kernel", "process"},
    {"native"},
    {"refusals"},
    {"formats"},
    {"store"},
    {"wire"},
    {"local", "remote", "ceph"},
    {"opening"},
    {"transfer"},
    {"cloud", "backup", "doctor", "demo"},
    {"compat", "serve", "attach"},
    {"cli"},
    {"programs"},
    {"__main__"},
]
# `cowshed` itself only hands out names, when they are first asked for; anyone may ask it for its version.
FACADE = {"": {"errors", "opening", "store"}}
# Versions and the catalogue are the local engine's alone; `opening` starts it. The daemon and its clients
# use the kernel's NBD server and client, and FUSE.
KERNEL_USERS = {"local", "opening", "refusals", "remote", "serve", "attach"}

LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def room_of(module: str) -> str:
    """The room of a module: `cowshed.local.image` is in `local`, `cowshed` itself in ``."""
    return module.split(".")[1] if "." in module else ""


def module_of(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(("cowshed", *(part for part in parts if part != "__init__")))


def imports_of(path: Path, module: str) -> Iterator[tuple[int, str]]:
    """Line and full name of every cowshed module that is imported anywhere in a file."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module if path.name == "__init__.py" else module.rpartition(".")[0]
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "cowshed" else [base]
        else:
            continue
        for name in names:
            if name == "cowshed" or name.startswith("cowshed."):
                yield node.lineno, name


def violations(package: Path) -> list[str]:
    found = []
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.pyi")]):
        module = module_of(path, package)
        room = room_of(module)
        if room and room not in LEVEL:
            found.append(f"{module}: in no known layer; give `{room}` its place in tests/test_layers.py")
            continue
        for line, name in imports_of(path, module):
            target = room_of(name)
            if target in ("", "__version__") or target == room:
                continue
            if target not in LEVEL:
                found.append(f"{module}:{line} imports {name}, which is in no known layer")
            elif not room:
                if target not in FACADE[""]:
                    found.append(f"{module}:{line} imports {name}")
            elif LEVEL[target] >= LEVEL[room]:
                found.append(f"{module}:{line} imports {name}, which is not below it")
            elif target == "_kernel" and room not in KERNEL_USERS:
                found.append(f"{module}:{line} imports {name}, which is the engines' alone")
    return found


def test_imports_point_downwards() -> None:
    assert violations(PACKAGE) == []


@pytest.mark.parametrize(
    ("path", "code", "complaint"),
    [
        ("store/x.py", "from cowshed.local import LocalStore", "cowshed.store.x:1 imports cowshed.local"),
        ("store/x.py", "def f():\n    import cowshed.cli.main", "cowshed.store.x:2 imports cowshed.cli.main"),
        ("store/x.py", "from ..local import store", "cowshed.store.x:1 imports cowshed.local"),
        ("store/x.py", "from cowshed import local", "cowshed.store.x:1 imports cowshed.local"),
        ("local/x.py", "from cowshed.remote import x", "cowshed.local.x:1 imports cowshed.remote"),
        ("cli/x.py", "from cowshed._kernel import Kernel", "the engines' alone"),
        ("helpers.py", "", "cowshed.helpers: in no known layer"),
        ("store/x.py", "import cowshed.helpers", "no known layer"),
        ("__init__.py", "from cowshed.cli import main", "cowshed:1 imports cowshed.cli"),
    ],
)
def test_what_points_elsewhere_is_named(tmp_path: Path, path: str, code: str, complaint: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(code)
    (found,) = violations(tmp_path)
    assert complaint in found


def test_what_points_downwards_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "x.py").write_text(
        "import os\nfrom cowshed import __version__\nfrom cowshed._kernel import Kernel\n"
        "from cowshed.store import Store\nfrom .y import z\nfrom . import y\n"
    )
    assert violations(tmp_path) == []
