"""The disks of a store that no daemon serves, over NBD for a while: for a program that this one runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cowshed._kernel import NbdServer
from cowshed.local.boundary import kernel_errors
from cowshed.local.store import LocalStore
from cowshed.serve.exports import Exports
from cowshed.serve.handles import Handles


@contextmanager
def disks_served(store: LocalStore, socket: str) -> Iterator[None]:
    """Every image and snapshot of `store` at a Unix socket, by name, until the end of the `with`.

    `socket` is a path that is not there yet, and is not removed. Raises IOFailure.
    """
    server = NbdServer(store.kernel, Exports(store, Handles(), hidden=True))
    try:
        with kernel_errors:
            server.listen_unix(socket)
        yield
    finally:
        server.stop()
