"""Progress bars on stderr: only on a terminal, only for work that takes a while."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cowshed.store import Progress

if TYPE_CHECKING:
    from tqdm import tqdm

F = TypeVar("F", bound=Callable[..., Any])

PATIENCE = 0.3
"""Seconds after which work gets a bar; shorter work shows none, and does not pay for loading it."""


class Bar:
    """A `Progress` that draws itself with rate and time left."""

    def __init__(self, title: str, unit: str) -> None:
        self._title = title
        self._unit = unit
        self._start = time.monotonic()
        self._bar: tqdm[Any] | None = None

    def __call__(self, done: int, total: int, /) -> None:
        """Show that `done` of `total` (0: unknown) is done."""
        if self._bar is None:
            if time.monotonic() - self._start < PATIENCE:
                return
            self._bar = self._draw(total)
        if total and total != self._bar.total:
            self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it is and end its line."""
        if self._bar is not None:
            self._bar.close()

    def _draw(self, total: int) -> tqdm[Any]:
        from tqdm import tqdm

        scaled = self._unit == "B"
        return tqdm(
            desc=self._title,
            total=total or None,
            unit=self._unit if scaled else f" {self._unit}",
            unit_scale=scaled,
            unit_divisor=1024 if scaled else 1000,
            file=sys.stderr,
            dynamic_ncols=True,
            mininterval=0.1,
        )


def _unseen(done: int, total: int, /) -> None:
    """Take note of nothing: removals wait for their space when they are watched, terminal or not."""


@contextmanager
def bar(title: str, *, unit: str, wanted: bool = True) -> Iterator[Progress]:
    """A bar for the work inside the `with`; a `Progress` that shows nothing where none is to be seen."""
    if not wanted or not sys.stderr.isatty():
        yield _unseen
        return
    shown = Bar(title, unit)
    try:
        yield shown
    finally:
        shown.close()


def takes_no_progress(function: F) -> F:
    """Add `--no-progress`, passed to the verb as `progress` (True: a bar may be shown)."""
    return click.option(
        "--no-progress", "progress", flag_value=False, type=bool, default=True, help="Show no progress bar."
    )(function)
