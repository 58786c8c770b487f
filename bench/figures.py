"""What is measured, the bar that it must reach, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.rounds import Spread, number

REACHES = "reaches"
FALLS_SHORT = "falls short"
FLAT = 1.25
"""What still counts as flat: the larger one takes at most so many times as long as the smaller."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit that a figure must keep to."""

    limit: float
    most: bool
    unit: str = ""

    def reached_by(self, value: float) -> bool:
        return value <= self.limit if self.most else value >= self.limit

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        return f"{'≤' if self.most else '≥'} {self.limit:g}{unit}"


def at_most(limit: float, unit: str = "") -> Bar:
    return Bar(limit, True, unit)


def at_least(limit: float, unit: str = "") -> Bar:
    return Bar(limit, False, unit)


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table. Without a bar it is for information."""

    topic: str
    name: str
    value: float
    measured: str
    bar: Bar | None = None
    peers: Mapping[str, str] = field(default_factory=dict)
    """The same thing done by others, or why there is no such figure."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """For --json alone."""

    @property
    def verdict(self) -> str:
        """Whether it reaches its bar; "" where there is none."""
        if self.bar is None:
            return ""
        return REACHES if self.bar.reached_by(self.value) else FALLS_SHORT

    def as_json(self) -> dict[str, Any]:
        return {
            "topic": self.topic,
            "figure": self.name,
            "value": self.value,
            "measured": self.measured,
            "bar": str(self.bar) if self.bar else None,
            "verdict": self.verdict or None,
            "peers": dict(self.peers),
            **self.detail,
        }


def ratio(
    topic: str,
    name: str,
    spread: Spread,
    bar: Bar | None = None,
    *,
    note: str = "",
    peers: Mapping[str, str] | None = None,
) -> Figure:
    """A figure that is a ratio of times or rates."""
    measured = f"{spread.ratio_text()}{f', {note}' if note else ''}"
    return Figure(topic, name, spread.median, measured, bar, peers or {}, _quartiles(spread))


def milliseconds(
    topic: str, name: str, seconds: Spread, limit: float | None = None, *, note: str = ""
) -> Figure:
    """A figure that is a time, with at most `limit` ms."""
    measured = f"{seconds.milliseconds_text()}{f', {note}' if note else ''}"
    bar = None if limit is None else at_most(limit, "ms")
    return Figure(topic, name, seconds.median * 1e3, measured, bar, {}, _quartiles(seconds, 1e3))


def count(topic: str, name: str, value: float, bar: Bar | None = None, *, note: str = "") -> Figure:
    """A figure that is counted or computed, and has no spread."""
    return Figure(topic, name, value, f"{number(value)}{f' ({note})' if note else ''}", bar)


def _quartiles(spread: Spread, scale: float = 1.0) -> dict[str, Any]:
    return {"low": spread.low * scale, "high": spread.high * scale, "rounds": spread.count}
