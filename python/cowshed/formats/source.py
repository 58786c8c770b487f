"""The shapes that disk images are read and written in, whatever their format."""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

PIECE = 1 << 20
"""Bytes handed over at once, at most."""


class Source(Protocol):
    """A disk to read from front to back."""

    @property
    def size(self) -> int | None:
        """Bytes in the disk; None where only the end will tell."""

    def pieces(self, ring: int) -> Generator[tuple[int, memoryview], None, None]:
        """Offset and content of all that is data, ascending, in pieces of PIECE at most.

        What is left out reads as zeros. A piece stays as it is until `ring - 1` more were taken.
        """


class Sink(Protocol):
    """A disk to write from front to back."""

    def write(self, offset: int, data: memoryview) -> None:
        """Take a piece; offsets ascend. What is left out reads as zeros."""

    def finish(self) -> None:
        """Complete it, and make a file durable."""
