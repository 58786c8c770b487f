"""Names for what exists only while a transfer runs."""

from __future__ import annotations

import os


def scratch_name(name: str, doing: str) -> str:
    """A name nobody has, that tells what it is for to whoever finds it after a crash."""
    return f"{name[:40]}.{doing}-{os.urandom(3).hex()}"
