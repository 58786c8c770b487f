"""Results and records as JSON values and back, by the annotations of methods and dataclasses.

A record is an object with its fields' names; a tuple or an iterator is a list; a spec is its text; bytes are
text in base64. What an annotation means is worked out once, and lists of texts and numbers pass as they are:
a listing of 100,000 names costs what its JSON costs.
"""

from __future__ import annotations

import binascii
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast

from cowshed.errors import FormatError, InvalidArgument
from cowshed.store.interface import Store
from cowshed.store.spec import GroupSpec, ImageSpec, SnapSpec

_SPECS = (ImageSpec, SnapSpec, GroupSpec)
_PLAIN = (str, int, float, bool, NoneType, Any)
Codec = Callable[[Any], Any]


@cache
def result_type(operation: str) -> Any:
    """The annotation of what a method of `Store` returns."""
    return typing.get_type_hints(getattr(Store, operation))["return"]


def encode(kind: Any, value: Any) -> Any:
    """The JSON value of a value with an annotation."""
    codec = _encoder(kind)
    return codec(value) if codec else value


def decode(kind: Any, value: Any) -> Any:
    """The value back from JSON. Raises FormatError for what is not of that shape.

    Fields that a record here does not have are passed over, so that a later cowshed may add some.
    """
    try:
        codec = _decoder(kind)
        return codec(value) if codec else value
    except (TypeError, ValueError, InvalidArgument) as error:
        name = getattr(kind, "__name__", str(kind))
        raise FormatError(
            f"the daemon's answer is not a {name}: {error}", hint="does it run another cowshed?"
        ) from None


@cache
def _encoder(kind: Any) -> Codec | None:
    """None: the value is its own JSON."""
    if kind in _PLAIN:
        return None
    if kind in _SPECS:
        return str
    if kind is bytes:
        return _to_base64
    if is_dataclass(kind):
        return _record_encoder(cast("type[Any]", kind))
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return None
    if origin in (Union, UnionType):
        some = _optional(kind, inner)
        codec = _encoder(some)
        return (lambda value: None if value is None else codec(value)) if codec else None
    if origin is dict:
        each = _encoder(inner[1])
        return (lambda value: {key: each(one) for key, one in value.items()}) if each else None
    if origin in (list, Iterator, Sequence) or (origin is tuple and inner[1:] == (...,)):
        item = _encoder(inner[0])
        return (lambda value: [item(each) for each in value]) if item else list
    if origin is tuple and all(_encoder(each) is None for each in inner):
        return list
    return _unknown(kind)


@cache
def _decoder(kind: Any) -> Codec | None:
    """None: the JSON value is the value."""
    if kind in _PLAIN:
        return None
    if kind is bytes:
        return _from_base64
    if kind in _SPECS:
        return cast("Codec", kind.parse)
    if is_dataclass(kind):
        return _record_decoder(cast("type[Any]", kind))
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return None
    if origin in (Union, UnionType):
        some = _optional(kind, inner)
        codec = _decoder(some)
        return (lambda value: None if value is None else codec(value)) if codec else None
    if origin is dict:
        check, each = _typed(dict), _decoder(inner[1])
        return (lambda value: {key: each(one) for key, one in check(value).items()}) if each else check
    if origin in (list, Iterator, Sequence) or (origin is tuple and inner[1:] == (...,)):
        item, check = _decoder(inner[0]), _typed(list)
        made: Codec = {list: list, tuple: tuple}.get(origin, iter if origin is Iterator else list)
        if item is None:
            return check if made is list else lambda value: made(check(value))
        if made is list:
            return lambda value: [item(each) for each in check(value)]
        return lambda value: made([item(each) for each in check(value)])
    if origin is tuple:
        length, check = len(inner), _typed(list)

        def fixed(value: Any) -> tuple[Any, ...]:
            if len(check(value)) != length:
                raise ValueError(f"{length} values are needed, not {len(value)}")
            return tuple(value)

        return fixed
    return _unknown(kind)


def _optional(kind: Any, inner: tuple[Any, ...]) -> Any:
    """What an `X | None` is when it is not None."""
    others = [each for each in inner if each is not NoneType]
    return others[0] if len(others) == 1 else _unknown(kind)


def _unknown(kind: Any) -> Codec:
    raise NotImplementedError(f"{kind} has no form on the wire")


def _to_base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()


def _from_base64(value: Any) -> bytes:
    # binascii.Error is a ValueError, and so is what it says of text that is not ASCII.
    return binascii.a2b_base64(_typed(str)(value), strict_mode=True)


def _typed(wanted: type) -> Codec:
    def check(value: Any) -> Any:
        if type(value) is not wanted:
            raise TypeError(f"a {wanted.__name__} is needed, not {type(value).__name__}")
        return value

    return check


def _record_encoder(kind: type[Any]) -> Codec:
    names = tuple(field.name for field in fields(kind))
    values = attrgetter(*names)
    hints = typing.get_type_hints(kind)
    nested = {name: codec for name in names if (codec := _encoder(hints[name]))}
    if not nested:
        return lambda record: dict(zip(names, values(record), strict=True))

    def encode_record(record: Any) -> dict[str, Any]:
        made = dict(zip(names, values(record), strict=True))
        for name, codec in nested.items():
            made[name] = codec(made[name])
        return made

    return encode_record


def _record_decoder(kind: type[Any]) -> Codec:
    names = frozenset(field.name for field in fields(kind))
    hints = typing.get_type_hints(kind)
    nested = {name: codec for name in names if (codec := _decoder(hints[name]))}
    check = _typed(dict)

    def decode_record(value: Any) -> Any:
        given: dict[str, Any] = check(value)
        if not given.keys() <= names:
            given = {name: each for name, each in given.items() if name in names}
        for name, codec in nested.items():
            if name in given:
                given[name] = codec(given[name])
        return kind(**given)

    return decode_record
