"""What is on a disk: pieces at places that tests write to, compared by hash with what the disk was given."""

from __future__ import annotations

import hashlib
import random
from typing import Any

PIECE = 64 << 10
GIB = 1 << 30
PLACES = 24
"""So many pieces of each GiB are written to, spread over it unevenly."""
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
        return _digest(self.size * GIB, self.pieces)


def places(size: int) -> list[int]:
    """The offsets that are written to on a disk of `size` GiB: its very beginning and end are among them."""
    spread = [(number * number * GIB // (PLACES * PLACES)) // PIECE * PIECE for number in range(PLACES)]
    return [gib * GIB + offset for gib in range(size) for offset in [*spread, GIB - PIECE]]


def digest(image: Any) -> str:
    """The same of an image, or of the snapshot that it is set to, by `rbd`'s own calls.

    Read is what `diff_iterate` says is there, and every place that tests write to whether it says so or not.
    """
    size = image.size()
    wanted = {offset for offset in places(-(-size // GIB)) if offset < size}

    def note(offset: int, length: int, exists: bool) -> None:
        if exists:
            wanted.update(range(offset // PIECE * PIECE, offset + length, PIECE))

    image.diff_iterate(0, size, None, note)
    pieces = {}
    for offset in sorted(wanted):
        data = image.read(offset, min(PIECE, size - offset))
        if data.count(0) != len(data):
            pieces[offset] = data
    return _digest(size, pieces)


def _digest(size: int, pieces: dict[int, bytes]) -> str:
    said = hashlib.sha256(str(size).encode())
    for offset in sorted(pieces):
        said.update(offset.to_bytes(8, "big") + pieces[offset])
    return said.hexdigest()
