"""What verbs print: tables shaped like rbd's, and json with rbd's keys."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("plain", "json")


class Output:
    """How the answer of a verb is wanted."""

    def __init__(self, form: str, pretty: bool) -> None:
        self.form = form
        self.pretty = pretty

    @property
    def plain(self) -> bool:
        """Whether the answer is text for people; else it is a document."""
        return self.form == "plain"

    def document(self, document: Mapping[str, Any] | Sequence[Any]) -> None:
        """Print a document: objects and arrays with rbd's keys."""
        import json

        indent = 4 if self.pretty else None
        separators = None if self.pretty else (",", ":")
        sys.stdout.write(json.dumps(document, indent=indent, separators=separators) + "\n")


def takes_format(function: F) -> F:
    """Add `--format` and `--pretty-format`, passed to the verb together as `output`."""
    import functools

    @click.option("--format", "form", type=click.Choice(FORMATS), default="plain", help="Output format.")
    @click.option("--pretty-format", is_flag=True, help="Indent json.")
    @functools.wraps(function)
    def wrapper(*args: Any, form: str, pretty_format: bool, **kwargs: Any) -> Any:
        return function(*args, output=Output(form, pretty_format), **kwargs)

    return wrapper  # type: ignore[return-value]


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings; a heading that starts with `>` sets its column to the right."""
    right = [heading.startswith(">") for heading in columns]
    lines = [[heading.lstrip(">") for heading in columns], *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            f"{cell:>{width}}" if to_right else f"{cell:<{width}}"
            for cell, width, to_right in zip(line, widths, right, strict=True)
        )
        sys.stdout.write("  ".join(cells).rstrip() + "\n")


def timestamp(seconds: float) -> str:
    """A time as rbd prints it: `Mon Nov 22 15:05:01 2021`, in local time."""
    import time

    return time.ctime(seconds)
