"""What the guest's writers write, byte for byte: the same records and steps as inside/log, ring and names."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

LINE = 31
"""Bytes in a line of a record: no power of two, so that records begin and end anywhere in a block."""


@dataclass(frozen=True)
class Writer:
    """A process in the guest that writes records into a file of its own."""

    number: int
    kind: Literal["log", "ring"]
    lines: int
    """Lines in a record."""
    slots: int = 0
    """Records that a ring holds."""

    @property
    def length(self) -> int:
        """Bytes in a record."""
        return self.lines * LINE


WRITERS = [
    Writer(0, "log", 33),
    Writer(1, "log", 7),
    Writer(2, "log", 330),
    Writer(3, "ring", 140, 16),
]
NAMES = 4
"""The writer that works on names, in steps instead of records."""


@cache
def record(session: int, writer: Writer, number: int, epoch: int) -> bytes:
    sum_ = (number * 2654435761 + epoch * 40503 + session * 977 + writer.number * 131) & 0xFFFFFFFF
    line = f"{session}.{writer.number} {number:06} {epoch:06} {sum_:08x}"
    return "".join(f"{line} {index:03}\n" for index in range(writer.lines)).encode()


def epoch_of(data: bytes) -> int | None:
    """The epoch that a record says in its first line, whatever else is wrong with it."""
    digits = data[11:17]
    return int(digits) if len(digits) == 6 and digits.isdigit() else None


Tree = dict[str, bytes]
"""Files by path."""


def step(session: int, tree: Tree, number: int) -> Tree:
    """The tree of a session's names after step `number` (from 0), if `tree` is the one before."""
    tree = dict(tree)
    life, kind = divmod(number, 6)
    if kind == 0:
        tree[f"new.{life}"] = content(session, life)
    elif kind == 1:
        tree[f"file.{life}"] = tree.pop(f"new.{life}")
    elif kind == 2:
        tree[f"links/{life}"] = tree[f"file.{life}"]
    elif kind == 3:
        short = tree[f"file.{life}"][: 50 + life % 3 * 100]
        tree[f"file.{life}"] = tree[f"links/{life}"] = short
    elif kind == 4:
        tree["last"] = tree.pop(f"file.{life}")
    else:
        del tree[f"links/{life}"]
    return tree


@cache
def content(session: int, life: int) -> bytes:
    return "".join(f"{session}.{life} {line:05}\n" for line in range(1, 41 + life % 7 * 150)).encode()
