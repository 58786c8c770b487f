"""A process that serves a store over NBD until it is killed: serving_child.py STORE SOCKET SEED

It serves a disk for each key `disk/NAME`. Each line on its standard input is the name of a snapshot to take,
`NAME@SNAP`; each is answered by a line when it is there for good. The first line that it says is `serving`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from cowshed._kernel import Kernel, NbdExport, NbdServer


class Disks:
    """The disks of a store, by their keys."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def version(self, name: str) -> int:
        value = self.kernel.get(f"disk/{name}".encode())
        if value is None:
            raise LookupError(f"there is no disk '{name}'")
        return int(value)

    def open(self, name: str, peer: str) -> NbdExport:
        return NbdExport(self.version(name), read_only="@" in name, label=name)

    def close(self, export: NbdExport, fault: str | None) -> None:
        assert fault is None, fault

    def names(self) -> list[tuple[str, str]]:
        return []

    def snapshots(self, export: NbdExport) -> list[str]:
        return []

    def snapshot_version(self, export: NbdExport, name: str) -> int:
        return self.version(f"{export.label}@{name}")

    def snapshot(self, name: str) -> None:
        with self.kernel.transaction() as transaction:
            frozen = transaction.freeze(self.version(name.partition("@")[0]))
            transaction.put(f"disk/{name}".encode(), str(frozen).encode())


def main() -> None:
    store, socket, seed = sys.argv[1:]
    cache = random.Random(seed).choice([0, 1 << 26])
    kernel = Kernel.open(Path(store), wait_seconds=10, cache_bytes=cache)
    disks = Disks(kernel)
    server = NbdServer(kernel, disks)
    server.listen_unix(socket)
    print("serving", flush=True)
    for line in sys.stdin:
        disks.snapshot(line.strip())
        print(line.strip(), flush=True)


if __name__ == "__main__":
    main()
