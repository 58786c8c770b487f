"""Disks' contents made from a seed, and told apart by their hash."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path

BLOCK = 64 << 10


def write_image(path: Path, size: int, seed: int) -> str:
    """A raw image: data, holes and zeros in turn. Returns the SHA-256 of its bytes."""
    chosen = random.Random(seed)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for offset in range(0, size, BLOCK):
            length = min(BLOCK, size - offset)
            block = chosen.randbytes(length) if chosen.random() < 0.5 else bytes(length)
            digest.update(block)
            if any(block) or chosen.random() < 0.5:
                file.seek(offset)
                file.write(block)
        file.truncate(size)
    return digest.hexdigest()


def sha256(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def pieces_of(path: Path) -> Iterable[bytes]:
    """A file's bytes, a mebibyte at a time."""
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece
