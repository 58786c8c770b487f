"""The daemon that serves the guest's disk: `cowshed serve` in a process of its own, which can be killed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import cowshed
from serve.daemons import serving


class Server:
    """A daemon of the store, ready; `socket` is where it serves NBD. Ends by `stop` or `kill`."""

    def __init__(self, store: Path, socket: Path) -> None:
        with ExitStack() as stack:
            self._daemon = stack.enter_context(serving(store, "--nbd-socket", socket))
            self._store = stack.enter_context(cowshed.open(store))
            self._stack = stack.pop_all()

    def create_snapshot(self, spec: str) -> None:
        self._store.create_snapshot(spec)

    def kill(self) -> None:
        self._daemon.process.kill()
        self._stack.close()

    def stop(self) -> None:
        self._store.close()
        status = self._daemon.end()
        assert status == 0, self._daemon.lines
        self._stack.close()
