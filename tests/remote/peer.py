"""A peer that answers HTTP as a test's script says: the faults that no real daemon shows on demand."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from cowshed.wire import sockets
from cowshed.wire.http import PROTOCOL, PROTOCOL_HEADER


@dataclass(frozen=True)
class Seen:
    """A request that came, and over which connection."""

    connection: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Script = Callable[[Seen], bytes | None]
"""The bytes to answer with; None: hang up without."""


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer of a daemon of this protocol."""
    named = {PROTOCOL_HEADER: str(PROTOCOL), "Content-Length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status}", *(f"{k.replace('_', '-')}: {v}" for k, v in named.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Peer:
    """Listens at a Unix socket, and answers each request by the script."""

    def __init__(self, path: Path, script: Script) -> None:
        self.path = path
        self.script = script
        self.seen: list[Seen] = []
        self._listener = sockets.bind(str(path))
        self._listener.listen(64)
        self._open: list[socket.socket] = []
        self._ended: list[threading.Event] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Go, and leave the socket's file behind, as a killed daemon does."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Close all connections, and return when they are closed."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for ended in self._ended:
            assert ended.wait(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            number = len(self._open)
            ended = threading.Event()
            self._open.append(connection)
            self._ended.append(ended)
            threading.Thread(target=self._serve, args=(number, connection, ended), daemon=True).start()

    def _serve(self, number: int, connection: socket.socket, ended: threading.Event) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as stream:
            while request := _take(number, stream):
                self.seen.append(request)
                said = self.script(request)
                if said is None:
                    break
                connection.sendall(said)
                if b"Content-Length" not in said:
                    break
        ended.set()


def _take(number: int, stream: IO[bytes]) -> Seen | None:
    first = stream.readline().decode().split()
    if len(first) != 3:
        return None
    headers = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(": ")
        headers[name] = value
    body = stream.read(int(headers.get("Content-Length", 0)))
    return Seen(number, first[0], first[1], headers, body)
