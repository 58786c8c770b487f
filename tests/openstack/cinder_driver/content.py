"""What is on a disk: pieces at places that tests write to, compared by hash with what the disk was given."""

from __future__ import annotations

import random

from openstack.harness.scattered import GIB, PIECE, digest, digest_of, places

__all__ = ["GIB", "PIECE", "Content", "digest", "places"]

ZEROS = bytes(PIECE)


class Content:
    """What a disk must hold: non-zero pieces by their offset; all else is zeros."""

    def __init__(self, pieces: dict[int, bytes] | None = None, size: int = 1) -> None:
        self.pieces = dict(pieces or {})
        self.size = size
        """In GiB."""

    def copy(self) -> Content:
        return Content(self.pieces, self.size)

    def change(self, dice: random.Random, count: int = 4) -> list[tuple[int, bytes]]:
        """Choose `count` writes, take them in, and return them; one in six is of zeros."""
        writes = []
        for _ in range(count):
            offset = dice.choice(places(self.size))
            data = ZEROS if dice.random() < 1 / 6 else dice.randbytes(PIECE)
            writes.append((offset, data))
            if data == ZEROS:
                self.pieces.pop(offset, None)
            else:
                self.pieces[offset] = data
        return writes

    def digest(self) -> str:
        return digest_of(self.size * GIB, self.pieces)
