"""A relay between clients and a server that cuts each connection after so many bytes."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Plan = Callable[[], "Cut"]


@dataclass(frozen=True)
class Cut:
    """When a connection is cut: after so many bytes of either direction."""

    from_client: int
    from_server: int
    reset: bool = False
    """Towards both sides by RST, which takes along what they have not read yet. TCP only."""


@dataclass
class Direction:
    source: socket.socket
    target: socket.socket
    left: int
    buffer: bytes = b""

    def move(self, readable: list[socket.socket], writable: list[socket.socket]) -> bool:
        """False when it is over."""
        if self.source in readable and not self.buffer:
            self.buffer = self.source.recv(min(1 << 16, self.left))
            self.left -= len(self.buffer)
            if not self.buffer:
                return False
        if self.target in writable and self.buffer:
            self.buffer = self.buffer[self.target.send(self.buffer) :]
        return self.left > 0 or bool(self.buffer)


def _relay(client: socket.socket, server: socket.socket, cut: Cut) -> None:
    for end in (client, server):
        end.setblocking(False)
        if cut.reset:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    directions = [Direction(client, server, cut.from_client), Direction(server, client, cut.from_server)]
    with client, server:
        while True:
            sources = [direction.source for direction in directions if not direction.buffer]
            targets = [direction.target for direction in directions if direction.buffer]
            readable, writable, _ = select.select(sources, targets, [])
            try:
                # Both, whether or not the first one is over.
                going = [direction.move(readable, writable) for direction in directions]
                if not all(going):
                    return
            except OSError:
                return


@contextmanager
def relay(server: str | tuple[str, int], plan: Plan, place: str | tuple[str, int]) -> Iterator[str]:
    """Relay to a server (a path, or host and port) from a place of the same kind; yields its address."""
    family = socket.AF_UNIX if isinstance(server, str) else socket.AF_INET
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            there = socket.socket(family, socket.SOCK_STREAM)
            there.connect(server)
            thread = threading.Thread(target=_relay, args=(client, there, plan()))
            threads.append(thread)
            thread.start()

    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(place)
        listener.listen(64)
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            if isinstance(server, str):
                yield f"unix:{listener.getsockname()}"
            else:
                yield "tcp:{}:{}".format(*listener.getsockname())
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
    for thread in threads:
        thread.join()
