"""Damaged streams for the parsers' tests: seeded, so that a failure can be played again."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator


def mutations(stream: bytes, count: int, tags: bytes) -> Iterator[bytes]:
    """`count` copies of a stream, with one to four faults each: other bits or tags, bytes lost or added.

    COWSHED_SEED is printed, and taken from the environment where it is set.
    """
    seed = int(os.environ.get("COWSHED_SEED") or random.randrange(1 << 32))
    print(f"COWSHED_SEED={seed}")
    rng = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(stream)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged) + 1)
            match rng.randrange(5):
                case 0 if at < len(damaged):
                    damaged[at] ^= 1 << rng.randrange(8)
                case 1 if at < len(damaged):
                    damaged[at] = rng.choice(tags + b"\x00\xff")
                case 2:
                    del damaged[at : at + rng.randrange(1, 9)]
                case 3:
                    length = rng.choice([8, 16, 60])
                    damaged[at:at] = damaged[max(0, at - length) : at]
                case _:
                    damaged[at:at] = rng.randbytes(rng.randrange(1, 9))
        yield bytes(damaged)


class Endless(io.RawIOBase):
    """A beginning, and behind it the same bytes for ever."""

    def __init__(self, beginning: bytes, again: bytes) -> None:
        self._left = beginning
        self._again = again * (1 + (1 << 16) // len(again))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            self._left = self._again
        taken, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)
