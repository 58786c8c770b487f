"""What the OpenAPI document says of all operations alike: errors, headers, the way to authenticate."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from cowshed import __version__
from cowshed.errors import CowshedError
from cowshed.wire.http import (
    ADDRESS_HEADER,
    CLIENT_HEADER,
    CLIENT_PATTERN,
    IDEMPOTENCY_HEADER,
    PREFER_HEADER,
    TEXT_PATTERN,
)
from cowshed.wire.operations import Operation


class ErrorBody(BaseModel):
    """An error of cowshed's one tree (docs/errors.md)."""

    class_: str
    errno: int
    message: str
    hint: str | None

    model_config = {"alias_generator": lambda name: name.rstrip("_"), "title": "Error"}


class ErrorAnswer(BaseModel):
    """What every answer with a status of 400 and more holds."""

    error: ErrorBody


def _statuses(root: type[CowshedError]) -> set[int]:
    return {root.http_status}.union(*(_statuses(each) for each in root.__subclasses__()))


STATUSES = sorted(_statuses(CowshedError) - {499} | {413, 422})
"""Those that an error can have; 413: the request is too large, 422: a used idempotency key, too."""


def refusals() -> dict[int | str, dict[str, Any]]:
    """The error answers, for the `responses` of a route."""
    return {status: {"model": ErrorAnswer, "description": "An error"} for status in STATUSES}


def errors_of(row: Operation, task: type[Any]) -> dict[int | str, dict[str, Any]]:
    """All answers of an operation's but the usual one."""
    answers = refusals()
    if row.long:
        answers[202] = {
            "model": task,
            "description": "It goes on as a task, at the path in `Location`.",
            "headers": {"Location": {"schema": {"type": "string"}}},
        }
    return answers


def described(row: Operation) -> dict[str, Any]:
    """The headers of an operation."""
    headers = [
        _header(CLIENT_HEADER, "Who asks, `client.` and a number: the holder of locks", CLIENT_PATTERN),
        _header(ADDRESS_HEADER, "Where the client is, for people", TEXT_PATTERN),
    ]
    if row.method != "GET":
        headers.append(
            _header(
                IDEMPOTENCY_HEADER,
                "A text of this request's own: sent again with it, the request is not done twice",
                TEXT_PATTERN,
            )
        )
    if row.long:
        prefer = "`respond-async`: go on as a task; also `attended`: in step with who follows it"
        headers.append(_header(PREFER_HEADER, prefer, None))
    return {"parameters": headers}


_JSON_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}


def _header(name: str, what: str, pattern: str | None) -> dict[str, Any]:
    schema = {"type": "string"} if pattern is None else {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": False, "description": what, "schema": schema}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    made = get_openapi(
        title="cowshed",
        version=__version__,
        description=(
            "A store of virtual-machine disks, served by `cowshed serve`. Each operation is a method of"
            " `cowshed.Store`, by its name; its tag is the role that it needs."
        ),
        routes=app.routes,
    )
    error = {"description": "An error", "content": _JSON_ERROR}
    made["components"]["responses"] = {"Error": error}
    for path in made["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if status >= "400" and answer == error:
                    operation["responses"][status] = {"$ref": "#/components/responses/Error"}
    _tell_base64(made)
    schemes: dict[Literal["token"], Any] = {"token": {"type": "http", "scheme": "bearer"}}
    made["components"]["securitySchemes"] = schemes
    # On the control socket no token is needed.
    made["security"] = [{}, {"token": []}]
    return made


def _tell_base64(part: Any) -> None:
    """Say of every text that stands for bytes how it does."""
    if isinstance(part, dict):
        if part.get("contentMediaType") == "application/octet-stream":
            del part["contentMediaType"]
            part["contentEncoding"] = "base64"
        for each in part.values():
            _tell_base64(each)
    elif isinstance(part, list):
        for each in part:
            _tell_base64(each)
