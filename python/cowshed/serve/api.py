"""The HTTP servers around the API: one for the control socket, one for TCP with TLS."""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from cowshed.errors import InvalidArgument

_KEEP_ALIVE = 75
"""Seconds that a connection may stay unused."""


class ApiServer:
    """Serves an application at sockets that listen already. For use within one event loop."""

    def __init__(
        self, app: ASGIApp, listening: Sequence[socket.socket], *, tls: tuple[str, str] | None = None
    ) -> None:
        """`tls` is a certificate and its key. Raises InvalidArgument if they are not."""
        self._listening = list(listening)
        self._tls = tls
        config = uvicorn.Config(
            app,
            loop="asyncio",
            # The faster parser, where it is installed, sets headers no limit: not for whoever comes by TCP.
            http="auto" if all(one.family == socket.AF_UNIX for one in listening) else "h11",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            # A client's word for where it comes from is not believed.
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        config.load()
        self._context = config.ssl = _context(*tls) if tls else None
        self._server = _Server(config)

    async def run(self) -> None:
        """Serve until `stop`, and until what is in flight then has ended or run out of time."""
        await self._server.serve(sockets=self._listening)

    async def ready(self) -> None:
        """Return when connections are accepted."""
        await self._server.is_ready.wait()

    def stop(self, drain_seconds: float) -> None:
        """Accept nothing more; `run` returns when all answers are sent, at the latest after this long."""
        self._server.config.timeout_graceful_shutdown = math.ceil(drain_seconds)
        self._server.should_exit = True

    def hurry(self) -> None:
        """After `stop`: wait no longer."""
        self._server.force_exit = True
        for task in self._server.server_state.tasks:
            task.cancel()

    def reload_tls(self) -> None:
        """Read the certificate and key again, for the connections to come.

        Raises InvalidArgument, and keeps the old ones, if the new ones are no good.
        """
        if self._context is not None and self._tls is not None:
            _context(*self._tls)
            self._context.load_cert_chain(*self._tls, password=_no_password)


class _Server(uvicorn.Server):
    """uvicorn's server without its hold of the signals, which are the daemon's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.is_ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _context(certificate: str, key: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        # ssl.SSLError is an OSError, and says little.
        raise InvalidArgument(
            f"--tls-cert {certificate!r} and --tls-key {key!r} cannot be used: {error}",
            hint="a PEM certificate with its chain, and its own key without a password",
        ) from None
    return context


def _no_password() -> str:
    """Answers instead of a prompt at the terminal."""
    raise ValueError("the key has a password")
