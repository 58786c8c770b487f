"""At the door: who asks, in which name, and how much he may send. An ASGI layer around the application."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cowshed.errors import CowshedError, InvalidArgument
from cowshed.local.clients import Client
from cowshed.local.store import LocalStore
from cowshed.serve.answering import refusal, respond
from cowshed.serve.principal import Authorise, Principal
from cowshed.serve.services import Services
from cowshed.wire.http import (
    ADDRESS_HEADER,
    API,
    CLIENT_HEADER,
    CLIENT_PATTERN,
    PROTOCOL,
    PROTOCOL_HEADER,
    RUN_HEADER,
    TEXT_PATTERN,
)
from cowshed.wire.operations import CHANGE_OBJECT

LARGEST_BODY = 1 << 20
LARGEST_OBJECT_BODY = 32 << 20
"""Of a change of an object: what `MAX_CHANGE_BYTES` are in base64, and the rest."""
OPEN_TO_ALL = frozenset({"/healthz", "/readyz"})
"""Paths that need no one to be known."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    principal: Principal
    store: LocalStore
    """The store, acting for the caller's client."""


def services_of(request: Request) -> Services:
    """What serves this request."""
    found = request.scope["state"]["services"]
    assert isinstance(found, Services)
    return found


def caller_of(request: Request) -> Caller:
    """Who sent this request; everything below the API's prefix has one."""
    found = request.scope["state"]["caller"]
    assert isinstance(found, Caller)
    return found


class Door:
    """Lets no request pass that has no caller, speaks another protocol, or is too large.

    What it lets pass knows its caller and the services that it is for.
    """

    def __init__(self, app: ASGIApp, services: Services, authorise: Authorise) -> None:
        self._app = app
        self._services = services
        self._authorise = authorise
        self._signature = (RUN_HEADER.lower().encode(), services.run.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._answer(scope, receive, self._signed(send))

    def _signed(self, send: Send) -> Send:
        async def signed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), self._signature]
            await send(message)

        return signed

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})
        state["services"] = self._services
        headers = _headers(scope)
        try:
            if scope["path"] not in OPEN_TO_ALL:
                state["caller"] = self._caller(scope, headers)
        except CowshedError as error:
            await respond(refusal(error))(scope, receive, send)
            return
        length = headers.get("content-length", "0")
        most = LARGEST_OBJECT_BODY if scope["path"] == API + CHANGE_OBJECT else LARGEST_BODY
        if not (length.isascii() and length.isdigit() and len(length) < 19 and int(length) <= most):
            await respond(refusal(InvalidArgument(_too_large(most)), 413))(scope, receive, send)
            return
        await self._app(scope, _bounded(receive, most), send)

    def _caller(self, scope: Scope, headers: dict[str, str]) -> Caller:
        principal = self._authorise(scope)
        protocol = headers.get(PROTOCOL_HEADER.lower(), str(PROTOCOL))
        if protocol != str(PROTOCOL):
            raise InvalidArgument(
                f"this daemon speaks protocol {PROTOCOL}, and the request is in {protocol[:20]!r}",
                hint="use the same version of cowshed on both sides",
            )
        return Caller(principal, self._acting(headers))

    def _acting(self, headers: dict[str, str]) -> LocalStore:
        name = headers.get(CLIENT_HEADER.lower())
        if name is not None and not re.search(CLIENT_PATTERN, name):
            raise InvalidArgument(f"{CLIENT_HEADER} must be `client.` and a number, not {name[:40]!r}")
        address = headers.get(ADDRESS_HEADER.lower(), "unknown")
        if not re.search(TEXT_PATTERN, address):
            raise InvalidArgument(f"{ADDRESS_HEADER} must be 1 to 255 characters of ASCII")
        store = self._services.store
        return store if name is None else store.acting_for(Client(name, address))


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _too_large(most: int) -> str:
    return f"the request is too large: {most} bytes are the most"


def _bounded(receive: Receive, most: int) -> Receive:
    """Stops the reading of a body that did not tell its length, once it is too long."""
    size = 0

    async def bounded() -> Message:
        nonlocal size
        message = await receive()
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            if size > most:
                raise HTTPException(413, _too_large(most))
        return message

    return bounded
