"""A short way for the requests that are in order: to a route by its path, and its arguments checked, no more.

FastAPI describes the routes, and answers whatever this way does not take: other routes, and every request
with something wrong about it, which it knows how to say. What both take, both answer alike. This way costs
a fraction, and a driver's one operation is half a dozen requests.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterable
from typing import Annotated, Any, NamedTuple, get_args, get_origin
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response, params
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cowshed.errors import CowshedError
from cowshed.serve.answering import refusal, respond
from cowshed.serve.tasks import unexpected

_NAMED = re.compile(r"(.*/)\{(\w+)\}")
"""A path whose last part is a name."""


class _Way(NamedTuple):
    """A route, and what its function takes."""

    route: APIRoute
    model: type[BaseModel] | None
    """The arguments that are checked, if it has any,"""
    argument: str
    """what they are called,"""
    in_query: bool
    """and where they are."""
    named: str | None
    """What the last part of the path is called, where it is a name."""


Ways = dict[tuple[str, str], _Way]
"""By method and path; a name at its end is left out."""


def ways(routers: Iterable[APIRouter]) -> Ways:
    """The routes that can be gone to straight: those with one model of arguments at most, and plain paths."""
    found: Ways = {}
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and (way := _way(route)):
                named = _NAMED.fullmatch(route.path)
                for method in route.methods or ():
                    found[method, named[1] if named else route.path] = way
    return found


def _way(route: APIRoute) -> _Way | None:
    named = _NAMED.fullmatch(route.path)
    if "{" in (named[1] if named else route.path) or route.dependencies:
        return None
    model: type[BaseModel] | None = None
    argument, in_query = "", False
    for name, parameter in inspect.signature(route.endpoint, eval_str=True).parameters.items():
        kind: Any = parameter.annotation
        marks: list[Any] = []
        if get_origin(kind) is Annotated:
            kind, *marks = get_args(kind)
        if inspect.isclass(kind) and issubclass(kind, BaseModel) and model is None:
            model, argument = kind, name
            in_query = any(isinstance(mark, params.Query) for mark in marks)
        elif name != "request" and not (named and name == named[2]):
            return None
    return _Way(route, model, argument, in_query, named[2] if named else None)


class Lane:
    """An ASGI layer before the application. Behind the door: who asks is known."""

    def __init__(self, app: ASGIApp, ways: Ways) -> None:
        self._app = app
        self._ways = ways

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        way, given = found
        if way.model is not None:
            if way.in_query:
                arguments = _of_query(way.model, scope)
            elif _is_json(scope):
                body, receive = await _whole(receive)
                arguments = _of_body(way.model, body)
            else:
                arguments = None
            if arguments is None:
                await self._app(scope, receive, send)
                return
            given[way.argument] = arguments
        scope["route"] = way.route
        try:
            answer = await _answer(way.route.endpoint, Request(scope, receive), given)
        except CowshedError as error:
            answer = respond(refusal(error))
        except Exception:
            await respond(refusal(unexpected()))(scope, receive, send)
            raise
        await answer(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[_Way, dict[str, Any]] | None:
        method, path = scope["method"], scope["path"]
        way = self._ways.get((method, path))
        if way is not None:
            return None if way.named else (way, {})
        before, slash, name = path.rpartition("/")
        way = self._ways.get((method, before + slash))
        # A long name is none that was given, which FastAPI says by its limit.
        if way is None or way.named is None or not name or len(name) > _LONGEST_NAME:
            return None
        return way, {way.named: name}


_LONGEST_NAME = 64


async def _answer(endpoint: Callable[..., Any], request: Request, given: dict[str, Any]) -> Response:
    if inspect.iscoroutinefunction(endpoint):
        found = await endpoint(request, **given)
    else:
        found = await run_in_threadpool(endpoint, request, **given)
    assert isinstance(found, Response)
    return found


def _of_query(model: type[BaseModel], scope: Scope) -> BaseModel | None:
    """The arguments in a query; None if anything is wrong with them."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    named = dict(pairs)
    return _checked(model, named) if len(named) == len(pairs) else None


def _is_json(scope: Scope) -> bool:
    """Whether there is a body in JSON, which told its length to the door."""
    told = [value for name, value in scope["headers"] if name == b"content-type"]
    return told == [b"application/json"] and any(name == b"content-length" for name, _ in scope["headers"])


def _of_body(model: type[BaseModel], body: bytes) -> BaseModel | None:
    """The same of a body in JSON."""
    try:
        return _checked(model, json.loads(body))
    except (ValueError, RecursionError):
        return None


def _checked(model: type[BaseModel], named: object) -> BaseModel | None:
    try:
        return model.model_validate(named)
    except ValidationError:
        return None


async def _whole(receive: Receive) -> tuple[bytes, Receive]:
    """A request's body, and what receives it once more."""
    messages: list[Message] = []
    while not messages or messages[-1].get("more_body", False):
        messages.append(await receive())
    again = iter(messages)

    async def repeated() -> Message:
        for message in again:
            return message
        return await receive()

    return b"".join(message.get("body", b"") for message in messages), repeated
