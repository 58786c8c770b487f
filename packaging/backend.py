"""How pip builds cowshed: by maturin, less one thing that it loses.

maturin writes every file of a source distribution without its execute bits, and a wheel that is made of that
has none either: the programs in cowshed/compat/bin would be there, and could not be run.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maturin import *  # noqa: F403 - the other hooks are its own
from maturin import build_sdist as _build_sdist

PROGRAMS = "python/cowshed/compat/bin/"


def build_sdist(directory: str, settings: Mapping[str, Any] | None = None) -> str:
    """Make the source distribution in a directory, and return its file's name."""
    name: str = _build_sdist(directory, settings)
    make_runnable(Path(directory, name))
    return name


def make_runnable(archive: Path) -> None:
    """Give the programs in a source distribution their execute bits; all else stays as it is."""
    whole = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=whole, mode="w", format=old.format) as new:
        for member in old:
            if PROGRAMS in member.name and member.isfile():
                member.mode = 0o755
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    # Without the time, so that the same sources give the same file.
    archive.write_bytes(gzip.compress(whole.getvalue(), mtime=0))
