"""What exists only while a transfer runs, and the names that it is to get."""

from __future__ import annotations

import os

from cowshed.errors import AlreadyExists, NotFound
from cowshed.store.images import Images
from cowshed.store.spec import ImageSpec


def scratch_name(name: str, doing: str) -> str:
    """A name nobody has, that tells what it is for to whoever finds it after a crash."""
    return f"{name[:40]}.{doing}-{os.urandom(3).hex()}"


def check_free(store: Images, spec: ImageSpec) -> None:
    """To say at once, not after an hour, that the name is taken; the rename at the end decides.

    Raises AlreadyExists.
    """
    try:
        store.stat(spec)
    except NotFound:
        return
    raise AlreadyExists(f"image {str(spec)!r} exists already")
