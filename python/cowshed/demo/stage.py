"""The telling of the story: steps with their time, space and checks, pleasant in a terminal and in a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from cowshed.store import Store

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size_text(size: float) -> str:
    """A size for people: `4.2 MiB`."""
    index = 0
    while abs(size) >= 1024 and index < len(_UNITS) - 1:
        size /= 1024
        index += 1
    return f"{size:.0f} {_UNITS[index]}" if index == 0 else f"{size:.1f} {_UNITS[index]}"


def time_text(seconds: float) -> str:
    """A duration for people: `2.1 ms`, `3.4 s`."""
    if seconds < 0.000_1:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


class Stage:
    """Where the story is told: counts the checks, and draws only where a terminal can show it."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._live = self._out.isatty()
        self._color = self._live and not os.environ.get("NO_COLOR")
        self._unicode = (self._out.encoding or "").lower().replace("-", "") == "utf8"
        self._steps = 0
        self._drawn = 0.0
        self.checks = 0
        self.failures: list[str] = []

    @contextmanager
    def step(self, title: str, store: Store | None = None) -> Iterator[Stage]:
        """One step; where a store is given, its space before and after is compared."""
        self._steps += 1
        self._say(self._paint("1", f"{self._steps}. {title}"))
        before = store.store_usage() if store else None
        yield self
        if store and before:
            after = store.store_usage()
            self._line(
                "space",
                f"data {_signed(after.used - before.used)},"
                f" metadata {_signed(after.metadata_bytes - before.metadata_bytes)}",
            )
        self._say("")

    @contextmanager
    def doing(self, what: str, count: int = 1) -> Iterator[None]:
        """Time a piece of work; with a count, the time for each is told too."""
        self._draw(f"{what} …")
        start = time.perf_counter()
        try:
            yield
        finally:
            self._erase()
        taken = time.perf_counter() - start
        each = f", {time_text(taken / count)} each" if count > 1 else ""
        self._line("done", f"{what}: {time_text(taken)}{each}")

    def tell(self, label: str, text: str) -> None:
        """Say one thing within a step."""
        self._erase()
        self._line(label, text)

    def progress(self, what: str) -> Callable[[int, int], None]:
        """Something to call with how much is done; drawn in place in a terminal, nothing elsewhere."""

        def show(done: int, total: int, /) -> None:
            # Drawing costs more than the work it shows.
            if self._live and time.monotonic() - self._drawn > 0.05:
                self._draw(f"{what}: {done:,} of {total:,}" if total else f"{what}: {done:,}")

        return show

    def check(self, what: str, right: bool) -> None:
        """Note whether something is as it should be."""
        self._erase()
        self.checks += 1
        if right:
            mark = self._paint("32", "✓" if self._unicode else "ok")
        else:
            self.failures.append(what)
            mark = self._paint("1;31", "✗ WRONG" if self._unicode else "WRONG")
        self._line("check", f"{mark} {what}")

    def table(self, title: str, rows: Sequence[Sequence[str]]) -> None:
        """A table without headings: the first column to the left, the others to the right."""
        self._say(self._paint("1", title))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            cells = [f"{row[0]:<{widths[0]}}"]
            cells += [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
            self._say("   " + "   ".join(cells).rstrip())
        self._say("")

    def say(self, text: str) -> None:
        """Say something outside the steps."""
        self._erase()
        self._say(text)

    def _line(self, label: str, text: str) -> None:
        self._say(f"   {self._paint('2', f'{label:<6}')} {text}")

    def _say(self, text: str) -> None:
        if not self._unicode:
            text = text.replace("µ", "u").replace("…", "...")
        print(text, file=self._out, flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text

    def _draw(self, text: str) -> None:
        if self._live:
            self._drawn = time.monotonic()
            print(f"\r\x1b[K   {text}", end="", file=self._out, flush=True)

    def _erase(self) -> None:
        if self._live:
            print("\r\x1b[K", end="", file=self._out, flush=True)


def _signed(size: int) -> str:
    if size == 0:
        return "unchanged"
    return ("+" if size > 0 else "-") + size_text(abs(size))
