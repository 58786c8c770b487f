"""What verbs print: tables shaped like rbd's, and json with rbd's keys."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

FORMATS = ("plain", "json", "xml")


class Output:
    """How the answer of a verb is wanted."""

    def __init__(self, form: str, pretty: bool) -> None:
        self.form = form
        self.pretty = pretty

    @property
    def plain(self) -> bool:
        """Whether the answer is text for people; else it is a document."""
        return self.form == "plain"

    def document(self, document: Mapping[str, Any] | Sequence[Any], name: str = "result") -> None:
        """Print a document: objects and arrays with rbd's keys. `name` is its root in xml."""
        if self.form == "xml":
            sys.stdout.write(_xml(document, name, self.pretty))
            return
        import json

        indent = 4 if self.pretty else None
        separators = None if self.pretty else (",", ":")
        sys.stdout.write(json.dumps(document, indent=indent, separators=separators) + "\n")


def _xml(document: object, name: str, pretty: bool) -> str:
    """As Ceph writes it: an element for each key; an array's items are named by its singular."""
    from xml.etree import ElementTree

    def element(name: str, value: object) -> ElementTree.Element:
        found = ElementTree.Element(name if name.replace("_", "").isidentifier() else "item")
        if isinstance(value, Mapping):
            if found.tag != name:
                found.set("name", name)
            found.extend(element(str(key), item) for key, item in value.items())
        elif isinstance(value, Sequence) and not isinstance(value, str):
            single = name[:-1] if name.endswith("s") and len(name) > 1 else "item"
            found.extend(element(single, item) for item in value)
        elif value is not None:
            found.text = str(value).lower() if isinstance(value, bool) else str(value)
        return found

    root = element(name, document)
    if pretty:
        ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def takes_format(function: F) -> F:
    """Add `--format` and `--pretty-format`, passed to the verb together as `output`."""
    import functools

    @click.option("--format", "form", type=click.Choice(FORMATS), default="plain", help="Output format.")
    @click.option("--pretty-format", is_flag=True, help="Indent json or xml.")
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
