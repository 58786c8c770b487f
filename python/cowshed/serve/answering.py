"""Answers in JSON, errors among them."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Response
from fastapi.exceptions import RequestValidationError

from cowshed.errors import CowshedError, InvalidArgument
from cowshed.serve.idempotency import Answer
from cowshed.wire import errors
from cowshed.wire.http import PROTOCOL, PROTOCOL_HEADER

_HEADERS = {PROTOCOL_HEADER: str(PROTOCOL)}


def to_json(value: Any) -> bytes:
    """As the wire has it: ASCII, so that no text is impossible."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def respond(answer: Answer) -> Response:
    """The answer as FastAPI sends it."""
    made = Response(
        answer.body,
        answer.status,
        {**_HEADERS, **dict(answer.headers)},
        media_type=None if answer.body is None else "application/json",
    )
    if answer.status == 204:
        del made.headers["content-length"]
    return made


def ok(value: Any, status: int = 200) -> Response:
    """A result that is JSON already."""
    return respond(Answer(status, to_json(value)))


def refusal(error: CowshedError, status: int | None = None) -> Answer:
    """An error as an answer, with its own status or another."""
    status = error.http_status if status is None else status
    headers = (("WWW-Authenticate", "Bearer"),) if status == 401 else ()
    return Answer(status, to_json({"error": errors.encode(error)}), headers)


def in_words(error: RequestValidationError) -> InvalidArgument:
    """What is wrong with a request, for people."""
    said = dict.fromkeys(_in_words(each) for each in error.errors())
    return InvalidArgument("; ".join(said), hint="GET /v1/openapi.json describes every request")


_WORDS = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is out of bounds",
    "int_from_float": "must be a whole number",
    "greater_than_equal": "is out of bounds",
    "less_than_equal": "is out of bounds",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text",
    "string_unicode": "must be a text in Unicode",
    "value_error": "must be a text in Unicode",
    "string_pattern_mismatch": "has a wrong form",
    "list_type": "must be a list",
    "base64": "must be a text in base64",
}


def _in_words(each: dict[str, Any]) -> str:
    kind, place = each["type"], each["loc"]
    if kind == "json_invalid":
        return "the body is not valid JSON"
    name = ".".join(str(part) for part in place[1:])
    if not name:
        return "the body must be a JSON object (and Content-Type application/json)"
    if kind == "extra_forbidden":
        return f"there is no parameter {name!r}"
    return f"{name!r} {_WORDS.get(kind) or 'is not possible: ' + each['msg']}"
