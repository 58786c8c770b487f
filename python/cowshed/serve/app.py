"""The application: everything that is served over HTTP, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from cowshed.errors import CowshedError, InvalidArgument, NotFound
from cowshed.serve import handle_routes, operations, task_routes
from cowshed.serve.answering import in_words, ok, refusal, respond
from cowshed.serve.callers import Door
from cowshed.serve.describing import document, refusals
from cowshed.serve.principal import Authorise, trusting
from cowshed.serve.services import Services
from cowshed.serve.tasks import unexpected
from cowshed.wire.answers import DaemonInfo
from cowshed.wire.http import API
from cowshed.wire.records import encode

WORKERS = 64
"""Calls of the store that run at the same time; a call of the store holds no GIL while it works."""
_SWEEP_SECONDS = 5.0


def make_app(services: Services, *, authorise: Authorise = trusting) -> FastAPI:
    """The application for one way in; several may share the services.

    `authorise` finds out who sends a request; without it, whoever can connect may do everything.
    """
    app = FastAPI(
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_life(services),
        redirect_slashes=False,
    )
    app.include_router(operations.routes(services))
    app.include_router(handle_routes.routes(services))
    app.include_router(task_routes.routes(services))

    @app.get(f"{API}/daemon", operation_id="daemon", response_model=DaemonInfo, responses=refusals())
    async def daemon() -> Response:
        """Who answers."""
        return ok(encode(DaemonInfo, services.info()))

    _tell_errors(app)
    app.add_middleware(Door, store=services.store, authorise=authorise)
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
    for route in app.routes:
        regex, methods = getattr(route, "path_regex", None), getattr(route, "methods", None)
        if regex and methods and regex.match(path):
            found |= methods
    return found


def _life(services: Services) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """While the application runs: the number of workers, and regular tidying."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            await asyncio.to_thread(services.handles.sweep)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = WORKERS
        sweeper = asyncio.create_task(sweep())
        try:
            yield
        finally:
            sweeper.cancel()

    return life
