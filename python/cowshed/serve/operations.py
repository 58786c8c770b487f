"""The routes of the table of operations: each one's parameters, checks, run and answer."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Union

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from cowshed.errors import CowshedError, InvalidArgument, NotFound
from cowshed.local.store import LocalStore
from cowshed.serve.answering import refusal, respond, to_json
from cowshed.serve.callers import Caller, caller_of, services_of
from cowshed.serve.describing import described, errors_of
from cowshed.serve.idempotency import Answer, OtherRequest
from cowshed.serve.services import Services
from cowshed.serve.tasks import Subject
from cowshed.store.interface import Store
from cowshed.store.progress import Progress
from cowshed.store.spec import GroupSpec, ImageSpec, SnapSpec
from cowshed.wire.answers import TaskInfo
from cowshed.wire.http import API, ATTENDED, IDEMPOTENCY_HEADER, PREFER_HEADER, RESPOND_ASYNC
from cowshed.wire.operations import OPERATIONS, Operation
from cowshed.wire.records import encode, result_type


def _in_unicode(text: str) -> str:
    """JSON can name halves of characters, which no name or value can hold."""
    if not text.isascii():
        text.encode()  # raises UnicodeEncodeError, a ValueError
    return text


TEXT = Annotated[str, AfterValidator(_in_unicode)]
_WHOLE = Annotated[int, Field(ge=-(1 << 62), le=1 << 62)]
_NUMBER = Annotated[float, Field(allow_inf_nan=False)]
_IN_STEPS = frozenset({"purge_snapshots", "trash_purge"})
"""Those that can fail half done; the others only if they were stopped where they told progress."""
_SPEC_FORMS = {
    ImageSpec: "[pool/[namespace/]]image",
    SnapSpec: "[pool/[namespace/]]image@snapshot",
    GroupSpec: "[pool/[namespace/]]group",
}


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

    def endpoint(request: Request, arguments: BaseModel) -> Response:
        named = {name.removeprefix("p_"): getattr(arguments, name) for name in type(arguments).model_fields}
        call = _Call(row, services_of(request), caller_of(request), named, takes_progress, status)
        return respond(call.answer(request))

    # FastAPI reads the parameters from the signature.
    model, where = arguments_model(row), Query() if row.in_query else Body()
    needed = row.in_query or any(field.is_required() for field in model.model_fields.values())
    endpoint.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request),
            inspect.Parameter(
                "arguments",
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                annotation=Annotated[model, where],
                default=inspect.Parameter.empty if needed else model(),
            ),
        ]
    )
    endpoint.__name__ = row.name
    summary, _, rest = inspect.cleandoc(getattr(Store, row.name).__doc__ or row.name).partition("\n\n")
    router.add_api_route(
        API + row.path,
        endpoint,
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
        asked = self._row.name, as_task, json.dumps(self._named, sort_keys=True)
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
            result = getattr(store, row.name)(**self._named, **more)
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
    if kind in _SPEC_FORMS:
        return str
    return list[typing.get_args(kind)[0]] if typing.get_origin(kind) is Iterator else kind  # type: ignore[misc]


def arguments_model(row: Operation) -> type[BaseModel]:
    """The parameters of an operation's method, to be checked. The fields are called `p_` and the name."""
    method = getattr(Store, row.name)
    hints = typing.get_type_hints(method)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if name in ("self", "progress"):
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[f"p_{name}"] = (
            _argument(hints[name]),
            Field(default, alias=name, description=_description(hints[name])),
        )
    title = "".join(part.capitalize() for part in row.name.split("_"))
    # What is in a query is text; what is in JSON has its type, and no other is taken for it.
    config = ConfigDict(extra="forbid", strict=not row.in_query)
    made: type[BaseModel] = create_model(f"{title}Arguments", __config__=config, **fields)
    return made


def _argument(kind: Any) -> Any:
    """The annotation of a parameter as pydantic is to check it."""
    if kind in _SPEC_FORMS or kind is str:
        return TEXT
    if kind is bool:
        return bool
    if kind is int:
        return _WHOLE
    if kind is float:
        return _NUMBER
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, UnionType):
        kinds = dict.fromkeys(_argument(each) for each in inner if each is not type(None))
        (one,) = kinds
        return one | None if type(None) in inner else one
    if origin is Sequence:
        return Annotated[list[_argument(inner[0])], Field(max_length=64)]  # type: ignore[misc]
    raise NotImplementedError(f"{kind} has no form in a request")


def _description(kind: Any) -> str | None:
    forms = [form for spec, form in _SPEC_FORMS.items() if spec in (kind, *typing.get_args(kind))]
    return "As `" + "` or `".join(forms) + "`" if forms else None
