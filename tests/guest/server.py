"""A process that serves a store's images over NBD, until it is killed or its standard input ends.

    python server.py STORE SOCKET

Each line of its standard input is the spec of a snapshot to take; a line on its standard output says that it
is taken. The first line says that it serves.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cowshed
from cowshed import _kernel
from cowshed.local import LocalStore
from cowshed.store.spec import as_image

AVAILABLE = hasattr(_kernel, "NbdServer")


class Exports:
    """Images of a local store, by their specs."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store

    def open(self, name: str, peer: str) -> _kernel.NbdExport:
        _, image = self._store._catalog.image(as_image(name))
        return _kernel.NbdExport(image.head, read_only=False, label=name)

    def close(self, export: _kernel.NbdExport, fault: str | None) -> None:
        if fault:
            print(f"a client broke the protocol: {fault}", file=sys.stderr, flush=True)

    def names(self) -> list[tuple[str, str]]:
        return []

    def snapshots(self, export: _kernel.NbdExport) -> list[str]:
        return []

    def snapshot_version(self, export: _kernel.NbdExport, name: str) -> int:
        raise LookupError(name)


class Server:
    """Such a process, seen from without."""

    def __init__(self, store: Path, socket: Path) -> None:
        socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(store), str(socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._answer("serving")
        except BaseException:
            self.kill()
            raise

    def create_snapshot(self, spec: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{spec}\n")
        self._process.stdin.flush()
        self._answer(spec)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def stop(self) -> None:
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0

    def _answer(self, expected: str) -> None:
        assert self._process.stdout
        answer = self._process.stdout.readline()
        assert answer == f"{expected}\n", f"the server answered {answer!r}, not {expected!r}"


def main() -> None:
    path, socket = sys.argv[1:]
    with cowshed.open(path, wait_seconds=30) as store:
        assert isinstance(store, LocalStore)
        server = _kernel.NbdServer(store._kernel, Exports(store))
        server.listen_unix(socket)
        print("serving", flush=True)
        for line in sys.stdin:
            store.create_snapshot(line.strip())
            print(line.strip(), flush=True)
        server.stop()


if __name__ == "__main__":
    main()
