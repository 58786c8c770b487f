"""Tables, bars, and what goes to which stream."""

from __future__ import annotations

import io
import sys
import time

import pytest

from cowshed.cli import bars
from cowshed.cli.output import print_table


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["NAME", ">SIZE", "LOCK"], [["a", 1, ""], ["long-name", 22222, "x"]])
    assert capsys.readouterr().out == (
        "NAME        SIZE  LOCK\n"
        "a              1\n"
        "long-name  22222  x\n"
    )  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_no_bar_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", err := io.StringIO())
    with bars.bar("Working", unit="B") as shown:
        shown(1, 2)
    assert err.getvalue() == ""


@pytest.mark.parametrize(("wanted", "patience"), [(False, 0.0), (True, 60.0)])
def test_no_bar_unless_wanted_and_for_short_work(
    monkeypatch: pytest.MonkeyPatch, wanted: bool, patience: float
) -> None:
    monkeypatch.setattr(bars, "PATIENCE", patience)
    monkeypatch.setattr(sys, "stderr", err := Terminal())
    with bars.bar("Working", unit="B", wanted=wanted) as shown:
        shown(1, 2)
    assert err.getvalue() == ""


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "PATIENCE", 0.0)
    monkeypatch.setattr(sys, "stderr", err := Terminal())
    with bars.bar("Working", unit="B") as shown:
        shown(1 << 20, 0)
        time.sleep(0.15)
        shown(2 << 20, 4 << 20)
    assert "Working" in err.getvalue()
    assert "4.00M" in err.getvalue()
