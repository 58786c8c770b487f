"""The application: everything that is served over HTTP, put together."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache

import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from cowshed.errors import CowshedError, InvalidArgument, NotFound
from cowshed.serve import handle_routes, operations, task_routes
from cowshed.serve.answering import in_words, ok, refusal, respond
from cowshed.serve.callers import Door, services_of
from cowshed.serve.describing import document, refusals
from cowshed.serve.lane import Lane, ways
from cowshed.serve.principal import Authorise, trusting
from cowshed.serve.services import Services
from cowshed.serve.tasks import unexpected
from cowshed.wire.answers import DaemonInfo
from cowshed.wire.http import API
from cowshed.wire.records import encode

WORKERS = 64
"""Calls of the store that run at the same time; a call of the store holds no GIL while it works."""


def make_app(
    services: Services, *, authorise: Authorise = trusting, application: FastAPI | None = None
) -> ASGIApp:
    """The application for one way in; several may share the services.

    `authorise` finds out who sends a request; without it, whoever can connect may do everything.
    `application` is one with routes of the daemon's own.
    """
    application = application or _plain()
    return Door(Lane(application, application.state.ways), services, authorise)


@cache
def _plain() -> FastAPI:
    return make_application()


def make_application(routers: Sequence[APIRouter] = ()) -> FastAPI:
    """What is served to those whom the door lets in, and the routes of `routers` too.

    The same for all services and all ways in: the door gives each request its own.
    """
    app = FastAPI(
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_life,
    )
    general = APIRouter()

    @general.get(f"{API}/daemon", operation_id="daemon", response_model=DaemonInfo, responses=refusals())
    async def daemon(request: Request) -> Response:
        """Who answers."""
        return ok(encode(DaemonInfo, services_of(request).info()))

    ours = (operations.routes(), handle_routes.routes(), task_routes.routes(), general)
    for router in (*ours, *routers):
        app.include_router(router)
    app.state.ways = ways(ours)
    _tell_errors(app)
    app.openapi = lambda: _documented(app)  # type: ignore[method-assign]
    return app


def _documented(app: FastAPI) -> dict[str, object]:
    if not app.openapi_schema:
        app.openapi_schema = document(app)
    return app.openapi_schema


def _tell_errors(app: FastAPI) -> None:
    """Every error becomes the same JSON."""

    @app.exception_handler(CowshedError)
    async def known(request: Request, error: CowshedError) -> Response:
        return respond(refusal(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return respond(refusal(in_words(error)))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return respond(refusal(NotFound(f"nothing is served at {request.url.path!r}")))
        if error.status_code == 405:
            allowed = ", ".join(sorted(_methods(app, request.url.path)))
            wrong = InvalidArgument(
                f"{request.method} is not possible at {request.url.path!r}", hint=f"{allowed} is"
            )
            return respond(refusal(wrong, 405)._replace(headers=(("Allow", allowed),)))
        return respond(refusal(InvalidArgument(str(error.detail)), error.status_code))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        # Starlette raises it again behind this answer, so that the server's log has it in full.
        return respond(refusal(unexpected()))


def _methods(app: FastAPI, path: str) -> set[str]:
    """What can be done at a path."""
    found: set[str] = set()
    for template, methods in app.openapi()["paths"].items():
        pattern = re.sub(r"\\{[^/]*\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, path):
            found.update(method.upper() for method in methods)
    return found


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = WORKERS
    yield
