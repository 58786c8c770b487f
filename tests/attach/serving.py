"""A process that serves a store over NBD until it is killed: `python serving.py STORE SOCKET`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import cowshed
from attach.conftest import ByName
from cowshed._kernel import NbdServer
from cowshed.local import LocalStore


def main(store_path: str, socket: str) -> None:
    store = cowshed.open(store_path, wait_seconds=10)
    assert isinstance(store, LocalStore)
    server = NbdServer(store._catalog.kernel, ByName(store))
    Path(socket).unlink(missing_ok=True)
    server.listen_unix(socket)
    print("ready", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
