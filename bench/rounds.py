"""Timing in rounds: whatever is compared takes turns, so that the machine's noise hits all of it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0], 1)
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high, len(values))

    def ratio_text(self) -> str:
        """`2.81 (2.60-3.05)`."""
        return f"{number(self.median)} ({number(self.low)}-{number(self.high)})"

    def milliseconds_text(self) -> str:
        """`0.55 ms (0.52-0.60)`, of seconds."""
        low, high = number(self.low * 1e3), number(self.high * 1e3)
        return f"{number(self.median * 1e3)} ms ({low}-{high})"


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


class Laps:
    """The seconds that each thing took, round by round."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Time what is inside; once a round for each name."""
        start = time.perf_counter()
        yield
        self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Note a time that was taken elsewhere."""
        self._seconds.setdefault(name, []).append(seconds)

    def clear(self) -> None:
        """Forget the rounds so far."""
        self._seconds.clear()

    def seconds(self, name: str) -> Spread:
        """What it took."""
        return Spread.of(self._seconds[name])

    def ratio(self, name: str, base: str, *, less: str | None = None) -> Spread:
        """How many times as long as `base` it took: the median of the rounds' own ratios.

        `less` is taken off both first: the time that a program needs to start.
        """
        tares = self._seconds[less] if less else [0.0] * len(self._seconds[name])
        times = zip(self._seconds[name], self._seconds[base], tares, strict=True)
        return Spread.of([max(a - tare, 1e-9) / max(b - tare, 1e-9) for a, b, tare in times])


Way = Callable[[Laps], None]


def interleave(rounds: int, *ways: Way, warm_up: int = 1) -> Laps:
    """Let all ways take their turns, in the opposite order every other round."""
    laps = Laps()
    gc.collect()
    gc.disable()
    try:
        for turn in range(warm_up + rounds):
            if turn == warm_up:
                laps.clear()
            for way in ways if turn % 2 else reversed(ways):
                way(laps)
    finally:
        gc.enable()
    return laps
