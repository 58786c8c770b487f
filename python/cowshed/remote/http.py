"""Requests to a daemon: kept connections over a Unix socket, or over TCP with TLS and a bearer token."""

from __future__ import annotations

import atexit
import hashlib
import http.client
import os
import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cowshed import native
from cowshed.errors import CowshedError, IOFailure, PermissionDenied
from cowshed.remote.endpoint import Endpoint, TcpEndpoint, UnixEndpoint
from cowshed.wire import sockets

if TYPE_CHECKING:
    import ssl

CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 3.0
"""Longer than this no connection is kept unused: well below the time after which a daemon closes it."""
_IDLE_COUNT = 8
_LEFT_COUNT = 2
"""How many are left to the next client of the same daemon."""
_Idle = tuple[float, http.client.HTTPConnection]
"""Since when it is not used."""
_PEER_SECONDS = 30
"""How long a peer over TCP may be silent to the keep-alive's questions, and leave data unacknowledged."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class _Left:
    """Connections that clients of this process left behind: drivers make a client for each operation.

    A connection belongs to no client: each question says whose it is. What the endpoint stands for (trust, a
    token) is the same for all who share one.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """In a fork: they are the parent's."""
        self._lock = native.lock()
        self._idle: dict[Endpoint, list[_Idle]] = {}

    def leave(self, endpoint: Endpoint, idle: list[_Idle]) -> None:
        """Keep some of them for a while; the others, and what nobody came for in time, are closed."""
        oldest = time.monotonic() - _IDLE_SECONDS
        with self._lock:
            known = [*self._idle.pop(endpoint, ()), *idle]
            over = known[:-_LEFT_COUNT]
            self._idle[endpoint] = known[-_LEFT_COUNT:]
            for place, kept in list(self._idle.items()):
                over += [each for each in kept if each[0] < oldest]
                if fresh := [each for each in kept if each[0] >= oldest]:
                    self._idle[place] = fresh
                else:
                    del self._idle[place]
        for _, connection in over:
            connection.close()

    def take(self, endpoint: Endpoint) -> list[_Idle]:
        """All that were left for an endpoint."""
        with self._lock:
            return self._idle.pop(endpoint, [])

    def close(self) -> None:
        """All of them."""
        with self._lock:
            over, self._idle = self._idle, {}
        for kept in over.values():
            for _, connection in kept:
                connection.close()


_left = _Left()
atexit.register(_left.close)
os.register_at_fork(after_in_child=_left.forget)


class Http:
    """Any number of threads may ask; each question has a connection of its own while it is under way."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._idle = _left.take(endpoint)
        self._lock = native.lock()
        self._headers = {"Accept": "application/json"}
        if isinstance(endpoint, TcpEndpoint) and endpoint.token:
            self._headers["Authorization"] = f"Bearer {endpoint.token}"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool = False,
        timeout: float | None = None,
    ) -> Answer:
        """Send a request and wait for the answer, whatever its status; at most `timeout` seconds.

        `repeatable` says that it does no harm if the daemon gets it twice: then it is sent once more where
        the connection broke. Raises IOFailure, its cause an OSError where the connection failed, and
        PermissionDenied.
        """
        sent = {**self._headers, **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        for last in (not repeatable, True):
            connection = self._take()
            connection.sock.settimeout(timeout)
            try:
                connection.request(method, path, body, sent)
                response = connection.getresponse()
                answer = Answer(response.status, response.headers, response.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if last:
                    raise self._lost(error, repeatable) from error
                continue
            except BaseException:
                connection.close()  # an answer half read would be taken for that of the next question
                raise
            if not response.will_close:
                self._keep(connection)
            return answer
        raise AssertionError("the last round raises or returns")

    def dial(self) -> bool:
        """Whether someone listens; the connection is kept for the first question. Raises PermissionDenied."""
        try:
            self._keep(self._unused() or self._connect())
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError as error:
            raise self._unreachable(error) from error
        return True

    def close(self) -> None:
        """Leave what is not in use to the next client. What is in use is closed when it is done."""
        with self._lock:
            idle, self._idle = self._idle, []
        _left.leave(self.endpoint, idle)

    def _take(self) -> http.client.HTTPConnection:
        try:
            return self._unused() or self._connect()
        except OSError as error:
            raise self._unreachable(error) from error

    def _unused(self) -> http.client.HTTPConnection | None:
        """One that is open already."""
        oldest = time.monotonic() - _IDLE_SECONDS
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, connection = self._idle.pop()
            if since >= oldest and _is_quiet(connection):
                return connection
            connection.close()

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_COUNT:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        connection = _connection(self.endpoint)
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        return connection

    def _unreachable(self, error: OSError) -> CowshedError:
        if isinstance(error, PermissionError):
            return PermissionDenied(
                f"the socket of {self.endpoint} is not for this user",
                hint="ask for the group that the daemon was given with --group",
            )
        if reason := getattr(error, "verify_message", None):
            return IOFailure(
                f"{self.endpoint} shows a certificate that is not trusted here: {reason}",
                hint="name its authority with ?ca=FILE",
            )
        if getattr(error, "reason", None) == "WRONG_VERSION_NUMBER":
            return IOFailure(f"what answers as {self.endpoint} does not speak TLS")
        if isinstance(self.endpoint, UnixEndpoint):
            hint = "it has stopped or crashed; open the store again"
        else:
            hint = "see whether it runs and listens there"
        return IOFailure(f"cannot reach {self.endpoint}: {error.strerror or error}", hint=hint)

    def _lost(self, error: OSError | http.client.HTTPException, repeatable: bool) -> CowshedError:
        what = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            return IOFailure(f"{self.endpoint} does not answer", hint="see what it does, or stop it")
        if not isinstance(error, OSError | http.client.IncompleteRead):
            return IOFailure(f"what answers as {self.endpoint} is no daemon of cowshed: {what}")
        unknown = "" if repeatable else "; whether the change was made is not known, so look first"
        return IOFailure(
            f"lost the connection to {self.endpoint}: {what}", hint=f"open the store again{unknown}"
        )


class _Connection(http.client.HTTPConnection):
    """A question leaves in one piece: in two, the other side would be woken twice."""

    _pieces: list[bytes] | None = None
    """Those of a question that is being put together."""

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **more: Any) -> None:
        self._pieces = []
        try:
            super().request(method, url, body, headers or {}, **more)
            whole = b"".join(self._pieces)
        finally:
            self._pieces = None
        super().send(whole)

    def send(self, data: Any) -> None:
        if self._pieces is None:
            super().send(data)
        else:
            self._pieces.append(data)


class _UnixConnection(_Connection):
    """HTTP over a Unix socket; paths of any length."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = sockets.connect(self._path, CONNECT_SECONDS)
        self.sock.settimeout(None)


def _connection(endpoint: Endpoint) -> http.client.HTTPConnection:
    if isinstance(endpoint, UnixEndpoint):
        return _UnixConnection(endpoint.socket)
    if not endpoint.tls:
        return _Plain(endpoint.host, endpoint.port, timeout=CONNECT_SECONDS)
    import ssl

    context = ssl.create_default_context(cafile=endpoint.ca)
    if endpoint.fingerprint is not None:
        # That the server has the certificate's key, TLS proves in any case; whose it is, `_Pinned` looks.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return _Pinned(endpoint, context)
    return _Tls(endpoint.host, endpoint.port, timeout=CONNECT_SECONDS, context=context)


class _Plain(_Connection):
    def connect(self) -> None:
        super().connect()
        _watch_peer(self.sock)


class _Tls(_Connection, http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _watch_peer(self.sock)


class _Pinned(_Tls):
    """One that is trusted for its certificate's fingerprint alone. Nothing is said before that was seen."""

    def __init__(self, endpoint: TcpEndpoint, context: ssl.SSLContext) -> None:
        super().__init__(endpoint.host, endpoint.port, timeout=CONNECT_SECONDS, context=context)
        self._endpoint = endpoint

    def connect(self) -> None:
        """Raises IOFailure."""
        super().connect()
        shown = self.sock.getpeercert(binary_form=True) or b""
        if hashlib.sha256(shown).digest() != self._endpoint.fingerprint:
            self.close()
            raise IOFailure(
                f"{self._endpoint} shows another certificate than the one that is known",
                hint="it was given a new one, or is somebody else: ask its operator for a new key",
            )


def _watch_peer(connected: socket.socket) -> None:
    """Work may take as long as it takes, but a peer that is gone is noticed."""
    connected.settimeout(None)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PEER_SECONDS // 2)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PEER_SECONDS // 6)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PEER_SECONDS * 1000)


def _is_quiet(connection: http.client.HTTPConnection) -> bool:
    """Whether nothing came in since the last answer: the end of the connection, as a rule."""
    if connection.sock is None:
        return False
    if not hasattr(select, "poll"):
        # eventlet takes it away where it patches the standard library.
        return not select.select([connection.sock], [], [], 0)[0]
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return not poll.poll(0)
