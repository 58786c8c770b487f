"""Who may come in through TCP, and what is written down of each request."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cowshed.errors import NotAuthenticated
from cowshed.serve import logs
from cowshed.serve.metrics import Metrics
from cowshed.serve.principal import Principal
from cowshed.serve.principal import Scope as AnyScope
from cowshed.serve.tokens import Tokens, bearer
from cowshed.wire.http import CLIENT_HEADER

_QUIET = frozenset({"daemon", "healthz", "readyz", "metrics"})
"""What machines ask every few seconds, or before each command: written down at the level `debug` only."""


class TokenHolders:
    """The `Authorise` of TCP: a token says who asks."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def __call__(self, scope: AnyScope) -> Principal:
        """Raises NotAuthenticated."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        text = bearer(given[0].decode("latin-1")) if len(given) == 1 else None
        if text is None:
            raise NotAuthenticated(
                "a token is missing",
                hint="send `Authorization: Bearer TOKEN`; `cowshed token create` makes one",
            )
        token = self._tokens.find(text)
        if token is None:
            raise NotAuthenticated(
                "the token is not known, or has expired", hint="`cowshed token ls` lists them"
            )
        pools = None if token.pools is None else frozenset(token.pools)
        return Principal(f"token {token.name}", token.role, pools)


class Entrance:
    """An ASGI application around another: writes down each request, and counts it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        status, stream = 0, False

        async def sending(message: Message) -> None:
            nonlocal status, stream
            if message["type"] == "http.response.start":
                status = message["status"]
                kinds = [value for name, value in message.get("headers", ()) if name == b"content-type"]
                stream = any(kind.startswith(b"text/event-stream") for kind in kinds)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            # Without an answer the client went away, or the daemon ends: 499, as nginx has it.
            self._ended(scope, status or 499, time.perf_counter() - start, stream)

    def _ended(self, scope: Scope, status: int, seconds: float, stream: bool) -> None:
        operation = _operation(scope)
        self._metrics.request_ended(operation, status, None if stream else seconds)
        caller = scope.get("state", {}).get("caller")
        peer = scope.get("client")
        logs.event(
            "request",
            f"{operation} answered {status}",
            level=_level(operation, status),
            operation=operation,
            method=scope["method"],
            status=status,
            ms=round(seconds * 1000, 3),
            client=_header(scope, CLIENT_HEADER),
            principal=caller.principal.name if caller else None,
            peer=f"{peer[0]}:{peer[1]}" if peer else None,
        )


def _operation(scope: Scope) -> str:
    """The operation's name. Never what a client made up: the number of names is bounded."""
    route = scope.get("route")
    name = getattr(route, "operation_id", None) or getattr(route, "name", None)
    return str(name) if name else "unknown"


def _level(operation: str, status: int) -> int:
    if status >= 500 and operation != "readyz":
        return logging.WARNING
    return logging.DEBUG if operation in _QUIET else logging.INFO


def _header(scope: Scope, name: str) -> str | None:
    wanted = name.lower().encode()
    for key, value in scope["headers"]:
        if key == wanted:
            return str(value.decode("latin-1"))[:100]
    return None
