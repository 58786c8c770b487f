"""The pools of a site, each opened as the user that owns it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

OWNERS = {"volumes": "cinder", "images": "glance", "vms": "nova", "backups": "cinder-backup"}


@contextmanager
def opened(conf: Path, pool: str) -> Iterator[Any]:
    """The pool's Ioctx."""
    import rados

    with rados.Rados(conffile=str(conf), rados_id=OWNERS[pool]) as client:
        ioctx = client.open_ioctx(pool)
        try:
            yield ioctx
        finally:
            ioctx.close()
