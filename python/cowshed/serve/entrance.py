"""Where requests to the API come in: who may, and what is written down of each.

There are two doors. The control socket trusts whoever could open it: the file system's permissions have
decided. On TCP a token decides. Which door it was is noted in the request's scope, which only the server
writes: nothing that a client sends gets there.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cowshed.errors import NotAuthenticated
from cowshed.serve import logs
from cowshed.serve.metrics import Metrics
from cowshed.serve.principal import OWNER, Principal
from cowshed.serve.tokens import Tokens, bearer
from cowshed.wire.http import CLIENT_HEADER

_CONTROL = "cowshed.control"
_PRINCIPAL = "cowshed.principal"
_QUIET = frozenset({"healthz", "readyz", "metrics"})
"""What is asked every few seconds by machines: written down at the level `debug` only."""


class Authority:
    """The `Authorise` of a daemon: the owner through the control socket, tokens through TCP."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def __call__(self, scope: Any) -> Principal:
        """Raises NotAuthenticated."""
        principal = OWNER if scope.get(_CONTROL) is True else self._of_token(scope)
        scope[_PRINCIPAL] = principal.name
        return principal

    def _of_token(self, scope: Any) -> Principal:
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
    """An ASGI application around another: notes the door, and writes down and counts what came of it."""

    def __init__(self, app: ASGIApp, *, control: bool, metrics: Metrics) -> None:
        self._app = app
        self._control = control
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[_CONTROL] = self._control
        start = time.perf_counter()
        status, stream = 0, False

        async def sending(message: Message) -> None:
            nonlocal status, stream
            if message["type"] == "http.response.start":
                status = message["status"]
                kinds = [v for k, v in message.get("headers", ()) if k.lower() == b"content-type"]
                stream = any(kind.startswith(b"text/event-stream") for kind in kinds)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            # Without an answer the client went away, or the daemon ends: 499, as nginx has it.
            seconds = time.perf_counter() - start
            self._ended(scope, status or 499, seconds, stream)

    def _ended(self, scope: Scope, status: int, seconds: float, stream: bool) -> None:
        operation = _operation(scope)
        self._metrics.request_ended(operation, status, None if stream else seconds)
        logs.event(
            "request",
            f"{operation} answered {status}",
            level=_level(operation, status),
            operation=operation,
            method=scope["method"],
            status=status,
            ms=round(seconds * 1000, 3),
            client=_header(scope, CLIENT_HEADER),
            principal=scope.get(_PRINCIPAL),
            peer="control" if self._control else _peer(scope),
        )


def _operation(scope: Scope) -> str:
    """The operation's name. Never what a client made up: the number of names is bounded."""
    route = scope.get("route")
    name = getattr(route, "operation_id", None) or getattr(route, "name", None)
    return str(name) if name else "unknown"


def _level(operation: str, status: int) -> int:
    if status >= 500:
        return logging.WARNING
    return logging.DEBUG if operation in _QUIET else logging.INFO


def _header(scope: Scope, name: str) -> str | None:
    wanted = name.lower().encode()
    for key, value in scope["headers"]:
        if key == wanted:
            return str(value.decode("latin-1"))[:200]
    return None


def _peer(scope: Scope) -> str | None:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else None
