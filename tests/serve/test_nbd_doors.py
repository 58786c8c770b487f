"""What each way into NBD shows, and what is written down of it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from cowshed._kernel import NbdExport
from cowshed.serve import logs
from cowshed.serve.nbd import WatchedExports

TOKEN = "0123456789abcdef0123456789abcdef"


class Inner:
    """Exports that know one image."""

    def __init__(self) -> None:
        self.closed: list[tuple[NbdExport, str | None]] = []

    def open(self, name: str, peer: str) -> NbdExport:
        if name == "broken":
            raise ValueError("a mistake")
        if name not in ("rbd/a", f".handle/{TOKEN}"):
            raise LookupError("no such image")
        return NbdExport(1, read_only=False, label="rbd/a")

    def close(self, export: NbdExport, fault: str | None) -> None:
        self.closed.append((export, fault))

    def names(self) -> list[tuple[str, str]]:
        return [("rbd/a", "")]

    def snapshots(self, export: NbdExport) -> list[str]:
        return ["monday"]

    def snapshot_version(self, export: NbdExport, name: str) -> int:
        return 7


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("json", "info", stream=stream)
    yield stream
    logs.configure("text", "error", stream=io.StringIO())


def events(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.mark.parametrize(("named", "listed"), [(True, True), (True, False), (False, True), (False, False)])
def test_what_is_shown(log: io.StringIO, named: bool, listed: bool) -> None:
    door = WatchedExports(Inner(), named=named, listed=listed)
    assert door.names() == ([("rbd/a", "")] if named and listed else [])
    door.close(door.open(f".handle/{TOKEN}", "x"), None)
    if named:
        door.close(door.open("rbd/a", "x"), None)
    else:
        # A name that is there and one that is not are refused alike.
        for name in ("rbd/a", "rbd/b", "", ".handle", "broken"):
            with pytest.raises(PermissionError, match="by their names"):
                door.open(name, "x")


def test_what_is_written_down(log: io.StringIO) -> None:
    inner = Inner()
    door = WatchedExports(inner, named=True, listed=True)
    export = door.open("rbd/a", "pid 5 uid 6")
    assert door.snapshots(export) == ["monday"]
    assert door.snapshot_version(export, "monday") == 7
    other = door.open(f".handle/{TOKEN}", "10.0.0.1:5")
    door.close(other, None)
    door.close(export, "it sent nonsense")
    assert inner.closed == [(other, None), (export, "it sent nonsense")]
    with pytest.raises(LookupError):
        door.open("rbd/b", "y")
    with pytest.raises(ValueError, match="mistake"):
        door.open("broken", "z")
    first, second, third, fourth, fifth, sixth = events(log)
    assert (first["event"], first["export"], first["peer"], first["handle"]) == (
        "nbd.connected",
        "rbd/a",
        "pid 5 uid 6",
        False,
    )
    assert (second["event"], second["peer"], second["handle"]) == ("nbd.connected", "10.0.0.1:5", True)
    assert (third["event"], third["level"], third["peer"]) == ("nbd.disconnected", "info", "10.0.0.1:5")
    assert (fourth["level"], fourth["peer"], fourth["fault"]) == (
        "warning",
        "pid 5 uid 6",
        "it sent nonsense",
    )
    assert (fifth["event"], fifth["export"], fifth["why"]) == ("nbd.refused", "rbd/b", "no such image")
    assert (sixth["event"], sixth["level"]) == ("nbd.failed", "error")
    assert "a mistake" in sixth["traceback"]
    assert TOKEN not in log.getvalue()
