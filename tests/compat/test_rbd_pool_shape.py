"""Names, classes, numbers and signatures beside the real module's, where Debian's python3-rbd is."""

from __future__ import annotations

import inspect
import json
import subprocess
from typing import Any

import pytest

from cowshed.compat import rbd

_ASK = """
import inspect, json, rbd
def signature(call):
    try:
        return [[p.name, None if p.default is p.empty else repr(p.default)] for p in
                inspect.signature(call).parameters.values()]
    except (TypeError, ValueError):
        line = (call.__doc__ or "").strip().splitlines()
        return line[0] if line else None
kinds = {n: v for n, v in vars(rbd).items() if inspect.isclass(v) and v.__module__ == "rbd"}
print(json.dumps({
    "numbers": {n: v for n, v in vars(rbd).items() if n.isupper() and isinstance(v, (int, str))},
    "bases": {n: [b.__name__ for b in v.__mro__[1:]] for n, v in kinds.items() if issubclass(v, Exception)},
    "kinds": sorted(kinds),
    "calls": {n: {m: signature(c) for m, c in vars(kinds[n]).items() if callable(c) and m[0] != "_"}
              for n in ("RBD", "Group")},
}))
"""


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    said = subprocess.run(["/usr/bin/python3", "-c", _ASK], capture_output=True, text=True, timeout=60)
    if said.returncode:
        pytest.skip(f"no python3-rbd here: {said.stderr.strip().splitlines()[-1]}")
    found: dict[str, Any] = json.loads(said.stdout)
    return found


def test_numbers(real: dict[str, Any]) -> None:
    assert {name: getattr(rbd, name, None) for name in real["numbers"]} == real["numbers"]


def test_classes(real: dict[str, Any]) -> None:
    assert [name for name in real["kinds"] if not inspect.isclass(getattr(rbd, name, None))] == []


def test_exceptions(real: dict[str, Any]) -> None:
    for name, bases in real["bases"].items():
        assert [base.__name__ for base in getattr(rbd, name).__mro__[1:]] == bases


def ours(call: Any) -> list[list[str | None]]:
    parameters = [*inspect.signature(call).parameters.values()]
    return [[p.name, None if p.default is p.empty else repr(p.default)] for p in parameters]


def test_signatures_of_rbd(real: dict[str, Any]) -> None:
    calls = real["calls"]["RBD"]
    assert len(calls) > 50
    assert {name: ours(getattr(rbd.RBD, name)) for name in calls} == calls


def test_signatures_of_groups(real: dict[str, Any]) -> None:
    for name, line in real["calls"]["Group"].items():
        arguments = ", ".join(
            f"{argument}={default}" if default else f"{argument}"
            for argument, default in ours(getattr(rbd.Group, name))
        )
        assert line == f"Group.{name}({arguments})"
