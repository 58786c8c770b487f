"""Every result of every operation makes the round trip through JSON."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cowshed.errors import FormatError
from cowshed.store import Extent, GroupSpec, ImageSpec, Locker, LockInfo, PoolInfo, SnapshotInfo, SnapSpec
from cowshed.wire import answers
from cowshed.wire.operations import OPERATIONS
from cowshed.wire.records import decode, encode, result_type

NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="/@", exclude_categories=["Cc", "Cs"]),
    min_size=1,
    max_size=9,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each, max_size=3)
)
ANSWERS: list[Any] = [kind for kind in vars(answers).values() if dataclasses.is_dataclass(kind)]


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of an annotation, by rules of their own."""
    if kind is Any:
        return JSON
    if kind in (ImageSpec, GroupSpec):
        return st.builds(kind, NAMES, NAMES | st.just(""), NAMES)
    if kind is SnapSpec:
        return st.builds(kind, NAMES, NAMES | st.just(""), NAMES, NAMES)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        return st.builds(
            kind, **{field.name: values(hints[field.name]) for field in dataclasses.fields(kind)}
        )
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, UnionType):
        return st.one_of([values(each) for each in inner])
    if origin is dict:
        return st.dictionaries(values(inner[0]), values(inner[1]), max_size=3)
    if origin is tuple and inner[1:] != (...,):
        return st.tuples(*map(values, inner))
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=3).map(tuple)
    if origin is not None:
        return st.lists(values(inner[0]), max_size=3)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(),
        int: st.integers(),
        bool: st.booleans(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        NoneType: st.none(),
        bytes: st.binary(max_size=9),
    }
    return plain[kind]


def kinds() -> dict[str, Any]:
    return {name: result_type(name) for name in OPERATIONS} | {kind.__name__: kind for kind in ANSWERS}


@pytest.mark.parametrize(("name", "kind"), kinds().items(), ids=list(kinds()))
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_round_trip(name: str, kind: Any, data: st.DataObject) -> None:
    value = data.draw(values(kind))
    sent = json.loads(json.dumps(encode(kind, value)))
    back = decode(kind, sent)
    if typing.get_origin(kind) is Iterator:
        back = list(back)
    assert back == value
    assert type(back) is type(value)


def test_what_a_record_looks_like() -> None:
    lock = LockInfo(False, "t", (Locker("client.1", "c", "host:0/1"),))
    assert encode(LockInfo | None, lock) == {
        "exclusive": False,
        "tag": "t",
        "lockers": [{"client": "client.1", "cookie": "c", "address": "host:0/1"}],
    }
    assert encode(LockInfo | None, None) is None
    assert encode(ImageSpec, ImageSpec("p", "", "a")) == "p/a"
    assert encode(Iterator[str], iter(["a", "b"])) == ["a", "b"]


def test_a_later_daemon_may_say_more_and_an_earlier_one_less() -> None:
    sent = {"name": "p", "id": 1, "created": 2.5, "colour": "blue"}
    assert decode(PoolInfo, sent) == PoolInfo("p", 1, 2.5)
    least = {"id": 1, "name": "s", "size": 0, "protected": False, "created": 0.0}
    assert decode(SnapshotInfo, least).namespace == "user"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (PoolInfo, {"name": "p"}),
        (PoolInfo, []),
        (list[PoolInfo], {}),
        (list[str], "ab"),
        (Iterator[str], None),
        (ImageSpec, "a//b"),
        (tuple[Extent, ...], [[1, 2, True]]),
        (answers.HandleLock, {"owner": 3, "mine": True}),
    ],
)
def test_what_is_no_such_record(kind: Any, value: Any) -> None:
    with pytest.raises(FormatError):
        decode(kind, value)
