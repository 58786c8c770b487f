"""A Unix socket that leads to a daemon's NBD server: what comes in plain goes out encrypted.

Programs that know TLS only by authorities and hosts' names cannot tell a daemon by its fingerprint; this side
of the relay can. A connection begins as NBD's do: the server's greeting and the client's flags are passed on,
the relay asks for TLS as the client's first option, and then both sides hear each other.
"""

from __future__ import annotations

import hashlib
import os
import select
import socket
import ssl
import struct
import threading
from types import TracebackType
from typing import Self

from cowshed.errors import IOFailure
from cowshed.remote.endpoint import TcpEndpoint

_GREETING = struct.Struct(">8s8sH")
_OPTION = struct.Struct(">8sII")
_REPLY = struct.Struct(">QIII")
_REPLY_MAGIC = 0x3E889045565A9
_STARTTLS = 5
_ACK = 1
_PIECE = 256 << 10
_CONNECT_SECONDS = 10.0


class Relay:
    """Listens at `path` from now on, for connections to `endpoint`'s host at `port`. A context manager."""

    def __init__(self, path: str, endpoint: TcpEndpoint, port: int) -> None:
        """Raises OSError where the socket cannot be made."""
        self._endpoint = endpoint
        self._port = port
        self.failure: Exception | None = None
        """Why the last connection was not made: the program at the socket only sees that it ends."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        os.chmod(path, 0o600)  # noqa: PTH101
        self._listener.listen(16)
        self._thread = threading.Thread(target=self._accept, name="relay", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), name="relayed", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                plain = socket.create_connection((self._endpoint.host, self._port), _CONNECT_SECONDS)
                with plain, self._agree(plain, client) as server:
                    _Both(client, server).run()
            except (OSError, IOFailure) as error:
                self.failure = error

    def _agree(self, server: socket.socket, client: socket.socket) -> ssl.SSLSocket:
        """The greeting for both, and TLS with the server. Raises IOFailure, OSError."""
        where = f"the NBD server at {self._endpoint.host}:{self._port}"
        client.sendall(_receive(server, _GREETING.size))
        server.sendall(_receive(client, 4) + _OPTION.pack(b"IHAVEOPT", _STARTTLS, 0))
        if _REPLY.unpack(_receive(server, _REPLY.size)) != (_REPLY_MAGIC, _STARTTLS, _ACK, 0):
            raise IOFailure(f"{where} does not speak TLS")
        known = self._endpoint.fingerprint
        context = ssl.create_default_context(cafile=self._endpoint.ca)
        if self._endpoint.certificate and self._endpoint.key:
            context.load_cert_chain(self._endpoint.certificate, self._endpoint.key)
        if known is not None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        wrapped = context.wrap_socket(server, server_hostname=self._endpoint.host)
        shown = wrapped.getpeercert(binary_form=True) or b""
        if known is not None and hashlib.sha256(shown).digest() != known:
            wrapped.close()
            raise IOFailure(f"{where} shows another certificate than the one that is known")
        return wrapped


class _Both:
    """Two connections, each of which hears what the other says.

    TLS is not for two threads at once, so one does all: it waits for either side to have something, and reads
    nothing more from one while the other has not taken what came before.
    """

    def __init__(self, client: socket.socket, server: ssl.SSLSocket) -> None:
        self._client = client
        self._server = server
        self._to_client = bytearray()
        self._to_server = bytearray()

    def run(self) -> None:
        """Until either ends. Raises OSError."""
        self._client.setblocking(False)
        self._server.setblocking(False)
        poll = select.poll()
        poll.register(self._client, 0)
        poll.register(self._server, 0)
        # A turn ends only when TLS holds no plain bytes: of those no poll of the socket tells.
        while self._turn():
            poll.modify(self._client, _events(not self._to_server, bool(self._to_client)))
            poll.modify(self._server, _events(not self._to_client, bool(self._to_server)))
            poll.poll()

    def _turn(self) -> bool:
        """Move what can be moved now; False at an end."""
        while True:
            moved = False
            for source, sink, waiting in (
                (self._client, self._server, self._to_server),
                (self._server, self._client, self._to_client),
            ):
                try:
                    if not waiting:
                        piece = source.recv(_PIECE)
                        if not piece:
                            return False
                        waiting += piece
                    del waiting[: sink.send(waiting)]
                    moved = True
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    continue
            if not moved:
                return True


def _events(reads: bool, writes: bool) -> int:
    return (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0)


def _receive(source: socket.socket, length: int) -> bytes:
    """Exactly so many bytes. Raises IOFailure where they end before."""
    found = b""
    while len(found) < length:
        piece = source.recv(length - len(found))
        if not piece:
            raise IOFailure("the connection ended in its greeting")
        found += piece
    return found
