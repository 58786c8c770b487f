"""What a disk should hold, kept naively: the file it came from, and every block written since.

It shares nothing with the store that it judges: the content of a snapshot is a copy of a dictionary.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator

BLOCK = 4096
CHUNK = 1 << 20
ALL_UP_TO = 256 << 20
"""Disks up to this size are compared byte by byte; of larger ones a sample of this size."""

Range = tuple[int, int]
Read = Callable[[int, int], bytes]


class Record:
    """The content that a disk should have."""

    def __init__(self, base: memoryview, size: int, sample: list[Range]) -> None:
        self._base = base
        self.size = size
        self._sample = sample
        self._written: dict[int, bytes] = {}
        self._digest: str | None = None

    @classmethod
    def of(cls, base: memoryview, dice: random.Random) -> Record:
        """The record of a disk that holds what `base` does."""
        size = len(base)
        if size <= ALL_UP_TO:
            return cls(base, size, _cut(0, size))
        starts = sorted(dice.sample(range(size // CHUNK), ALL_UP_TO // CHUNK))
        return cls(base, size, [(at * CHUNK, CHUNK) for at in starts])

    @property
    def whole(self) -> bool:
        """Whether all of the disk is compared, or a sample and all that was written."""
        return self.size <= ALL_UP_TO

    def copy(self) -> Record:
        """The record as it is now, for a snapshot or a clone."""
        other = Record(self._base, self.size, self._sample)
        other._written = dict(self._written)
        other._digest = self._digest
        return other

    def write(self, block: int, content: bytes) -> None:
        """Note that a block was written."""
        self._written[block] = content
        self._digest = None

    def read(self, offset: int, length: int) -> bytes:
        """What the disk should answer."""
        piece = bytearray(self._base[offset : offset + length])
        for block in range(offset // BLOCK, -(-(offset + length) // BLOCK)):
            content = self._written.get(block)
            if content is not None:
                start = max(block * BLOCK, offset)
                end = min(block * BLOCK + len(content), offset + length)
                piece[start - offset : end - offset] = content[start - block * BLOCK : end - block * BLOCK]
        return bytes(piece)

    def ranges(self) -> Iterator[Range]:
        """What is to be compared."""
        yield from self._sample
        if not self.whole:
            for block in sorted(self._written):
                yield block * BLOCK, len(self._written[block])

    def digest(self) -> str:
        """The sha256 that the disk should have."""
        if self._digest is None:
            self._digest = digest(self.read, self.ranges())
        return self._digest


def digest(read: Read, ranges: Iterator[Range]) -> str:
    """The sha256 over ranges of a disk."""
    total = hashlib.sha256()
    for offset, length in ranges:
        total.update(read(offset, length))
    return total.hexdigest()


def _cut(start: int, end: int) -> list[Range]:
    return [(at, min(CHUNK, end - at)) for at in range(start, end, CHUNK)]
