"""Large disks with a few pieces of data at known places, compared by a hash of all that is there."""

from __future__ import annotations

import hashlib
import random
from typing import Any

PIECE = 64 << 10
GIB = 1 << 30
PLACES = 24
"""So many pieces of each GiB are written to, spread over it unevenly."""


def places(size: int) -> list[int]:
    """The offsets that are written to on a disk of `size` GiB: its very beginning and end are among them."""
    spread = [(number * number * GIB // (PLACES * PLACES)) // PIECE * PIECE for number in range(PLACES)]
    return [gib * GIB + offset for gib in range(size) for offset in [*spread, GIB - PIECE]]


def piece(seed: int) -> bytes:
    """The piece that a seed stands for; 0 stands for zeros."""
    return random.Random(seed).randbytes(PIECE) if seed else bytes(PIECE)


def digest_of(size: int, pieces: dict[int, bytes]) -> str:
    """The hash of a disk of `size` bytes that holds these non-zero pieces and is zeros elsewhere."""
    said = hashlib.sha256(str(size).encode())
    for offset in sorted(pieces):
        said.update(offset.to_bytes(8, "big") + pieces[offset])
    return said.hexdigest()


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
    return digest_of(size, pieces)
