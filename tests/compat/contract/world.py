"""What an expectation finds around it: the modules, a connection, a pool, and a namespace of its own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

MiB = 1 << 20


class World:
    """The modules `rbd` and `rados`, a cluster's (or a store's) ceph.conf, and the run's scratch pools.

    `next` gives each expectation a namespace that no other has used, and what it opened is closed after it.
    """

    def __init__(self, rbd: Any, rados: Any, conf: str) -> None:
        self.rbd = rbd
        self.rados = rados
        self.conf = conf
        self.cluster: Any = rados.Rados(conffile=conf, rados_id="admin")
        self.cluster.connect()
        self.api: Any = rbd.RBD()
        self.pool = f"contract-{os.getpid()}"
        self.second_pool = f"{self.pool}-second"
        self._opened: list[Any] = []
        self._count = 0
        self.namespace = ""
        for pool in (self.pool, self.second_pool):
            self.cluster.create_pool(pool)
            with self.cluster.open_ioctx(pool) as ioctx:
                self.api.pool_init(ioctx, True)
        self.plain: Any = self.cluster.open_ioctx(self.pool)
        self.second: Any = self.cluster.open_ioctx(self.second_pool)
        self.ioctx: Any = self.plain

    def next(self) -> None:
        """A fresh namespace, `ioctx` in it."""
        self.forget()
        self._count += 1
        self.namespace = f"room{self._count}"
        self.api.namespace_create(self.plain, self.namespace)
        self.ioctx = self.keep(self.cluster.open_ioctx(self.pool))
        self.ioctx.set_namespace(self.namespace)

    def keep(self, opened: Any) -> Any:
        """Close this when the expectation is over."""
        self._opened.append(opened)
        return opened

    def forget(self) -> None:
        while self._opened:
            with contextlib.suppress(Exception):
                self._opened.pop().close()

    def end(self) -> None:
        """Close all, and remove the scratch pools."""
        self.forget()
        self.plain.close()
        self.second.close()
        for pool in (self.pool, self.second_pool):
            # Whether that works is an expectation of its own.
            with contextlib.suppress(self.rados.Error):
                self.cluster.delete_pool(pool)
        self.cluster.shutdown()

    def create(self, name: str = "disk", size: int = 8 * MiB, **how: Any) -> str:
        """Create an image of 1 MiB objects in `ioctx`; gives its name."""
        self.api.create(self.ioctx, name, size, **{"order": 20, "old_format": False, **how})
        return name

    def open(self, name: str = "disk", **how: Any) -> Any:
        """Open an image of `ioctx`."""
        return self.keep(self.rbd.Image(self.ioctx, name, **how))

    def fresh(self, name: str = "disk", size: int = 8 * MiB, **how: Any) -> Any:
        """Create an image, and open it."""
        return self.open(self.create(name, size, **how))

    def parent(self, name: str = "base", snapshot: str = "snap") -> Any:
        """An image with 1 MiB of `p`, a protected snapshot of it; opened."""
        image = self.fresh(name)
        image.write(b"p" * MiB, 0)
        image.create_snap(snapshot)
        image.protect_snap(snapshot)
        return image

    def clone(self, name: str = "clone", parent: str = "base", snapshot: str = "snap", **how: Any) -> Any:
        """A clone of `parent@snapshot`, opened."""
        self.api.clone(self.ioctx, parent, snapshot, self.ioctx, name, **how)
        return self.open(name)

    def reopened(self, image: Any) -> Any:
        """The same image, opened anew."""
        name = image.get_name()
        image.close()
        return self.open(name)

    def soon(self, true: Callable[[], object], within: float = 15.0) -> None:
        """Wait until it is true; fail after some seconds."""
        deadline = time.monotonic() + within
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError(f"not true within {within:.0f} s")
            time.sleep(0.02)
