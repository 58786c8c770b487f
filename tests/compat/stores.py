"""A store for tests of the look-alikes: opened by the process itself, or served by a daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import cowshed
from cowshed.store import Store
from remote.daemon import ServedStore

Opener = Callable[[], AbstractContextManager[Store]]


@contextmanager
def stores(room: Path, way: str) -> Iterator[Opener]:
    """What opens the store, which has the pool `rbdimage`; `way` is `local` or `daemon`."""
    path = room / "store"
    if way == "local":
        with cowshed.open(path, create=True) as store:
            store.create_pool("rbdimage")
        yield lambda: cowshed.open(path)
    else:
        with ServedStore(path) as daemon:
            daemon.store.create_pool("rbdimage")
            yield lambda: cowshed.open(path)
