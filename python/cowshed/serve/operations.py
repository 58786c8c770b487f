"""The routes of the table of operations: each one's checks, run and answer."""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from cowshed.errors import CowshedError, InvalidArgument, NotFound
from cowshed.local.store import LocalStore
from cowshed.serve import arguments
from cowshed.serve.answering import refusal, respond, to_json
from cowshed.serve.callers import Caller, caller_of, services_of
from cowshed.serve.describing import described, errors_of
from cowshed.serve.idempotency import Answer, OtherRequest
from cowshed.serve.services import Services
from cowshed.serve.tasks import Subject
from cowshed.store.interface import Store
from cowshed.store.progress import Progress
from cowshed.wire.answers import TaskInfo
from cowshed.wire.http import API, ATTENDED, IDEMPOTENCY_HEADER, PREFER_HEADER, RESPOND_ASYNC
from cowshed.wire.operations import OPERATIONS, Operation
from cowshed.wire.records import encode, result_type

_IN_STEPS = frozenset({"purge_snapshots", "trash_purge"})
"""Those that can fail half done; the others only if they were stopped where they told progress."""
_LOOKUPS = frozenset(
    {"pools", "stat", "find_image", "snapshots", "pool_metadata", "get_metadata", "snapshot_limit"}
)
"""Those that look up a few records and wait for nothing. They are answered where requests come in: to hand
one to another thread costs several times what the look-up does, and what holds up the others is less.
"""
_FEW = 50
"""Snapshots that are listed as quickly."""


def routes() -> APIRouter:
    """A route for every operation."""
    router = APIRouter()
    for row in OPERATIONS.values():
        _add(router, row)
    return router


def _add(router: APIRouter, row: Operation) -> None:
    kind = shown_result(row)
    method = getattr(LocalStore, row.name)
    takes_progress = "progress" in inspect.signature(method).parameters
    status = 204 if kind is None else 201 if row.creates else 200

    def endpoint(request: Request, given: BaseModel) -> Response:
        named = {
            name.removeprefix("p_"): arguments.plain(getattr(given, name))
            for name in type(given).model_fields
        }
        call = _Call(row, services_of(request), caller_of(request), named, takes_progress, status)
        return respond(call.answer(request))

    async def at_once(request: Request, given: BaseModel) -> Response:
        if row.name == "snapshots" and _are_many(caller_of(request).store, given):
            return await run_in_threadpool(endpoint, request, given)
        return endpoint(request, given)

    served: Callable[..., object] = at_once if row.name in _LOOKUPS else endpoint
    # FastAPI reads the parameters from the signature.
    model, where = arguments.model(row), Query() if row.in_query else Body()
    needed = row.in_query or any(field.is_required() for field in model.model_fields.values())
    served.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request),
            inspect.Parameter(
                "given",
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                annotation=Annotated[model, where],
                default=inspect.Parameter.empty if needed else model(),
            ),
        ]
    )
    served.__name__ = row.name
    summary, _, rest = inspect.cleandoc(getattr(Store, row.name).__doc__ or row.name).partition("\n\n")
    router.add_api_route(
        API + row.path,
        served,
        methods=[row.method],
        operation_id=row.name,
        name=row.name,
        status_code=status,
        response_model=kind,
        response_class=Response if kind is None else JSONResponse,
        summary=" ".join(summary.split()),
        description=rest,
        tags=[row.role],
        responses=errors_of(row, TaskInfo),
        openapi_extra=described(row),
    )


def _are_many(store: LocalStore, given: Any) -> bool:
    """Whether an image has more snapshots than a few. What is wrong with the question its answer says."""
    try:
        return store.stat(given.p_spec).snapshot_count > _FEW
    except CowshedError:
        return False


class _Call:
    """One request for an operation."""

    def __init__(
        self,
        row: Operation,
        services: Services,
        caller: Caller,
        named: dict[str, Any],
        takes_progress: bool,
        status: int,
    ) -> None:
        self._row = row
        self._services = services
        self._caller = caller
        self._named = named
        self._takes_progress = takes_progress
        self._status = status
        self._specs, self._pools = row.subjects(named)
        pools = self._pools
        if row.name != "pools":
            caller.principal.check(row.role, pools, row.name)

    def answer(self, request: Request) -> Answer:
        """Run it, unless the same was asked with the same key before."""
        wishes = {
            wish.strip().lower()
            for value in request.headers.getlist(PREFER_HEADER)
            for wish in value.split(",")
        }
        as_task = self._row.long and RESPOND_ASYNC in wishes
        key = request.headers.get(IDEMPOTENCY_HEADER)

        def run() -> Answer:
            try:
                return self._start(ATTENDED in wishes) if as_task else self._now()
            except CowshedError as error:
                return refusal(error)

        if key is None or self._row.method == "GET":
            return run()
        who = f"{self._caller.principal.name} {self._caller.store.client}"
        # A digest, since what was asked may be large and is remembered for long.
        named = hashlib.sha256(json.dumps(self._named, sort_keys=True).encode()).digest()
        asked = self._row.name, as_task, named
        try:
            return self._services.idempotency.once(who, key, asked, run)
        except OtherRequest:
            error = InvalidArgument(
                f"the idempotency key {key!r} came with another request before",
                hint="use a new key for each change",
            )
            return refusal(error, 422)

    def _now(self) -> Answer:
        return self._done(self._run(None))

    def _start(self, attended: bool) -> Answer:
        store = self._caller.store
        subject = Subject(self._row.name, store.client, self._caller.principal, self._specs, self._pools)
        task = self._services.tasks.start(subject, self._run, attended=attended)
        where = f"{API}/tasks/{task.id}"
        return Answer(202, to_json(encode(TaskInfo, task.info())), (("Location", where),))

    def _run(self, progress: Progress | None) -> Any:
        """Do it, and tell of it; the result as JSON has it."""
        store, row = self._caller.store, self._row
        begun = row.name in _IN_STEPS

        def stepped(done: int, total: int, /) -> None:
            nonlocal begun
            begun = True
            if progress:
                progress(done, total)

        more = {"progress": stepped if progress else None} if self._takes_progress else {}
        try:
            result = getattr(store, row.name)(**arguments.taken(row, self._named), **more)
        except (NotFound, InvalidArgument):
            raise
        except CowshedError:
            if begun:
                self._tell(partly=True)
            raise
        if row.name == "pools":
            result = [pool for pool in result if self._caller.principal.sees([pool.name])]
        made = encode(result_type(row.name), result)
        if row.changes:
            self._tell()
        return made

    def _tell(self, *, partly: bool = False) -> None:
        client = self._caller.store.client
        self._services.events.tell(self._row.name, client, self._specs, self._pools, partly=partly)

    def _done(self, result: Any) -> Answer:
        if self._status == 204:
            return Answer(204)
        return Answer(self._status, to_json(result))


def shown_result(row: Operation) -> Any:
    """The annotation of an operation's result, as FastAPI is to describe it; None for no result."""
    kind = result_type(row.name)
    if kind is type(None):
        return None
    if kind in arguments.SPEC_FORMS:
        return str
    return list[typing.get_args(kind)[0]] if typing.get_origin(kind) is Iterator else kind  # type: ignore[misc]
