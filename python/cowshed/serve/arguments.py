"""The arguments of operations as they are checked: a model for each, by its method's annotations."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from cowshed.errors import FormatError
from cowshed.store.interface import Store
from cowshed.store.objects import MAX_STEPS
from cowshed.store.spec import GroupSpec, ImageSpec, SnapSpec
from cowshed.wire.operations import Operation
from cowshed.wire.records import decode


def _in_unicode(text: str) -> str:
    """JSON can name halves of characters, which no name or value can hold."""
    if not text.isascii():
        text.encode()  # raises UnicodeEncodeError, a ValueError
    return text


def _in_base64(text: str) -> str:
    try:
        decode(bytes, text)
    except FormatError:
        raise PydanticCustomError("base64", "must be in base64") from None
    return text


BASE64_SCHEMA = {"type": "string", "contentEncoding": "base64"}
TEXT = Annotated[str, AfterValidator(_in_unicode)]
BASE64 = Annotated[str, AfterValidator(_in_base64), WithJsonSchema(BASE64_SCHEMA)]
_WHOLE = Annotated[int, Field(ge=-(1 << 62), le=1 << 62)]
_NUMBER = Annotated[float, Field(allow_inf_nan=False)]
SPEC_FORMS = {
    ImageSpec: "[pool/[namespace/]]image",
    SnapSpec: "[pool/[namespace/]]image@snapshot",
    GroupSpec: "[pool/[namespace/]]group",
}


def model(row: Operation) -> type[BaseModel]:
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
    if kind in SPEC_FORMS or kind is str:
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
    if kind is bytes:
        return BASE64
    if origin is Literal:
        return kind
    if origin is dict:
        return dict[_argument(inner[0]), _argument(inner[1])]  # type: ignore[misc]
    if origin in (Sequence, tuple):
        return Annotated[list[_argument(inner[0])], Field(max_length=MAX_STEPS)]  # type: ignore[misc]
    if is_dataclass(kind):
        return _record_model(typing.cast("type[Any]", kind))
    raise NotImplementedError(f"{kind} has no form in a request")


def _record_model(kind: type[Any]) -> type[BaseModel]:
    """A record that is sent, to be checked; what has a default may be left out."""
    hints = typing.get_type_hints(kind)
    made: dict[str, Any] = {}
    for each in fields(kind):
        default: Any = each.default
        if each.default_factory is not MISSING:
            default = each.default_factory()
        default = ... if default is MISSING else list(default) if isinstance(default, tuple) else default
        made[each.name] = _argument(hints[each.name]), default
    # A default is copied for each, whatever it is.
    return typing.cast(
        "type[BaseModel]",
        create_model(kind.__name__, __config__=ConfigDict(extra="forbid", strict=True), **made),
    )


def plain(value: Any) -> Any:
    """An argument as JSON has it."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value.model_dump() if isinstance(value, BaseModel) else value


def taken(row: Operation, named: dict[str, Any]) -> dict[str, Any]:
    """Arguments as the method takes them: records are made of their JSON; specs stay text."""
    return {**named, **{name: decode(kind, named[name]) for name, kind in _of_records(row).items()}}


@cache
def _of_records(row: Operation) -> dict[str, Any]:
    """The parameters that are lists of records, and their annotations."""
    hints = typing.get_type_hints(getattr(Store, row.name))
    lists = {name: kind for name, kind in hints.items() if typing.get_origin(kind) is Sequence}
    return {name: kind for name, kind in lists.items() if is_dataclass(typing.get_args(kind)[0])}


def _description(kind: Any) -> str | None:
    forms = [form for spec, form in SPEC_FORMS.items() if spec in (kind, *typing.get_args(kind))]
    return "As `" + "` or `".join(forms) + "`" if forms else None
