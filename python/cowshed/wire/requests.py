"""A call of an operation as a request: method, path with query, body."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from typing import Any, NamedTuple
from urllib.parse import urlencode

from cowshed.store.spec import GroupSpec, ImageSpec, SnapSpec
from cowshed.wire.http import API
from cowshed.wire.operations import Operation
from cowshed.wire.records import encode


class Request(NamedTuple):
    """What is sent; `body` is JSON, or None for none."""

    method: str
    path: str
    body: bytes | None


def request(operation: Operation, arguments: dict[str, Any]) -> Request:
    """The request for a call with these arguments, by the method's own parameter names."""
    sent = {name: _sent(value) for name, value in arguments.items()}
    if not operation.in_query:
        return Request(operation.method, API + operation.path, json.dumps(sent).encode())
    query = urlencode({name: _text(value) for name, value in sent.items() if value is not None})
    return Request(operation.method, API + operation.path + ("?" + query if query else ""), None)


def _sent(value: Any) -> Any:
    if isinstance(value, ImageSpec | SnapSpec | GroupSpec):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_sent(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return encode(type(value), value)
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
