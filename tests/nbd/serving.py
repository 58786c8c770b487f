"""A store that is served: disks and snapshots of it by name, through a Unix socket, TCP and TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nbd.identities import Identities

if TYPE_CHECKING:
    from cowshed._kernel import Kernel, NbdExport, NbdServer

BLOCK = 4096


@dataclass
class Names:
    """What is served, as the server asks for it. A snapshot of `disk` is `disk@snap`."""

    versions: dict[str, int] = field(default_factory=dict)
    read_only: set[str] = field(default_factory=set)
    """Disks that are not to be written over NBD, though they could be."""
    faults: list[str] = field(default_factory=list)
    """How clients broke the protocol."""
    opened: int = 0
    closed: int = 0

    def open(self, name: str, peer: str) -> NbdExport:
        from cowshed._kernel import NbdExport

        if name not in self.versions:
            raise LookupError(f"there is no export '{name}'")
        self.opened += 1
        disk, _, snapshot = name.partition("@")
        read_only = bool(snapshot) or name in self.read_only
        return NbdExport(self.versions[name], read_only=read_only, label=disk, description=f"this is {name}")

    def close(self, export: NbdExport, fault: str | None) -> None:
        self.closed += 1
        if fault:
            self.faults.append(fault)

    def names(self) -> list[tuple[str, str]]:
        return [(name, f"this is {name}") for name in self.versions]

    def snapshots(self, export: NbdExport) -> list[str]:
        return [name.partition("@")[2] for name in self.versions if name.startswith(f"{export.label}@")]

    def snapshot_version(self, export: NbdExport, name: str) -> int:
        return self.versions[f"{export.label}@{name}"]


@dataclass(frozen=True)
class Way:
    """A way to the server, as each kind of client is told of it."""

    kind: str
    host: str
    """Of TCP; the path of a Unix socket."""
    port: int = 0
    certificates: Path | None = None
    """The client's directory of certificates, with TLS."""

    def uri(self, export: str) -> str:
        """For libnbd's tools."""
        if self.kind == "unix":
            return f"nbd+unix:///{export}?socket={self.host}"
        if self.certificates:
            return f"nbds://{self.host}:{self.port}/{export}?tls-certificates={self.certificates}"
        return f"nbd://{self.host}:{self.port}/{export}"

    @property
    def qemu_objects(self) -> list[str]:
        """What a qemu tool must be told before it can be told of an export."""
        if self.certificates is None:
            return []
        return ["--object", f"tls-creds-x509,id=tls,endpoint=client,dir={self.certificates}"]

    def qemu(self, export: str, prefix: str = "", **options: str) -> str:
        """The export as an argument of --image-opts."""
        told = {"driver": "nbd", "export": export, **options}
        if self.kind == "unix":
            told |= {"server.type": "unix", "server.path": self.host}
        else:
            told |= {"server.type": "inet", "server.host": self.host, "server.port": str(self.port)}
        if self.certificates:
            told |= {"tls-creds": "tls", "tls-hostname": "localhost"}
        return ",".join(f"{prefix}{key}={value}" for key, value in told.items())


@dataclass
class Served:
    store: Path
    kernel: Kernel
    server: NbdServer
    names: Names
    ways: dict[str, Way]
    """`unix`, `tcp`, `tls` (both sides with certificates).

    Where certificates are required: `nameless` without one, `strange` with a stranger's, `plain` without TLS.
    Where TLS is offered, and no certificate asked for: `one-sided` with TLS, `opportunistic` without."""

    def disk(self, name: str, size: int, content: bytes = b"") -> int:
        """A new disk that begins with some bytes; its version."""
        with self.kernel.transaction() as transaction:
            head = transaction.create(size)
        if content:
            self.kernel.disk(head).write(0, content)
        self.names.versions[name] = head
        return head

    def snapshot(self, name: str) -> int:
        """Of `disk@snap`."""
        with self.kernel.transaction() as transaction:
            frozen = transaction.freeze(self.names.versions[name.partition("@")[0]])
        self.names.versions[name] = frozen
        return frozen

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Not over NBD."""
        self.kernel.disk(self.names.versions[name]).write(offset, data)

    def content(self, name: str) -> bytes:
        """All bytes, not over NBD."""
        disk = self.kernel.disk(self.names.versions[name])
        return disk.read(0, disk.size)

    def bytes_of(self, label: str, operation: str) -> int:
        """How many bytes requests of a kind concerned."""
        return sum(s.bytes for s in self.server.statistics() if (s.label, s.operation) == (label, operation))


@contextmanager
def served(store: Path, socket: Path, keys: Identities | None = None) -> Iterator[Served]:
    """A new store, served until the end; then it must be sound, and no one must have broken the protocol."""
    from cowshed._kernel import Kernel, NbdServer, ServerTls

    Kernel.create(store)
    with Kernel.open(store) as kernel:
        names = Names()
        server = NbdServer(kernel, names)
        try:
            server.listen_unix(socket)
            ways = {"unix": Way("unix", str(socket))}
            ways["tcp"] = Way("tcp", "127.0.0.1", server.listen_tcp("127.0.0.1", 0, require_tls=False))
            if keys:
                both = ServerTls(keys.server, keys.server_key, client_ca=keys.authority)
                port = server.listen_tcp("127.0.0.1", 0, tls=both)
                ways["plain"] = Way("tcp", "127.0.0.1", port)
                for name, directory in (
                    ("tls", keys.known),
                    ("nameless", keys.nameless),
                    ("strange", keys.strange),
                ):
                    ways[name] = Way("tls", "localhost", port, directory)
                alone = ServerTls(keys.server, keys.server_key)
                port = server.listen_tcp("127.0.0.1", 0, tls=alone, require_tls=False)
                ways["one-sided"] = Way("tls", "localhost", port, keys.nameless)
                ways["opportunistic"] = Way("tcp", "127.0.0.1", port)
            yield Served(store, kernel, server, names, ways)
        finally:
            stopped = server.stop(5)
        assert stopped, "a connection had to be cut off"
        assert names.opened == names.closed
        assert kernel.check() == []


def blocks(data: bytes | bytearray) -> list[bytes | bytearray]:
    """Of 4 KiB."""
    return [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]


def runs(flags: list[int]) -> list[tuple[int, int, int]]:
    """Blocks with the same flag together: offset, length, flag."""
    found: list[tuple[int, int, int]] = []
    for number, flag in enumerate(flags):
        if found and found[-1][2] == flag:
            offset, length, _ = found.pop()
            found.append((offset, length + BLOCK, flag))
        else:
            found.append((number * BLOCK, BLOCK, flag))
    return found


def allocation(content: bytes | bytearray) -> list[tuple[int, int, int]]:
    """What base:allocation must say of a disk with this content: a block of zeros is a hole."""
    return runs([0 if any(block) else 3 for block in blocks(content)])


def difference(old: bytes | bytearray, new: bytes | bytearray) -> list[tuple[int, int, int]]:
    """What cowshed:diff must say where no block was rewritten with what it held."""
    return runs([int(a != b) for a, b in zip(blocks(old), blocks(new), strict=True)])
