"""Errors pass through JSON as what they are."""

from __future__ import annotations

import errno
import json

import pytest

from cowshed.errors import Busy, CowshedError, Mismatch
from cowshed.wire import errors


def tree(root: type[CowshedError] = CowshedError) -> list[type[CowshedError]]:
    return [root] + [found for child in root.__subclasses__() for found in tree(child)]


@pytest.mark.parametrize("cls", tree())
@pytest.mark.parametrize("hint", [None, "look elsewhere"])
def test_round_trip(cls: type[CowshedError], hint: str | None) -> None:
    back = errors.decode(json.loads(json.dumps(errors.encode(cls("no 'ä'", hint=hint)))))
    assert type(back) is cls
    assert (back.message, back.hint) == ("no 'ä'", hint)


def test_an_error_of_a_later_cowshed() -> None:
    sent = {"class": "Exhausted", "errno": errno.EBUSY, "message": "m", "hint": None}
    assert type(errors.decode(sent)) is Busy
    assert type(errors.decode({**sent, "errno": -3})) is CowshedError


@pytest.mark.parametrize("name", ["annotations", "_errno", "from_os_error", "Any", "__doc__", None, 3])
def test_no_other_name_is_called(name: object) -> None:
    assert type(errors.decode({"class": name, "message": "m"})) is CowshedError


@pytest.mark.parametrize("value", [None, [], "x", {}])
def test_what_is_no_error_at_all(value: object) -> None:
    assert type(errors.decode(value)) is CowshedError


def test_a_mismatch_tells_where() -> None:
    for offset in (None, 0, 7):
        back = errors.decode(json.loads(json.dumps(errors.encode(Mismatch("other data", offset=offset)))))
        assert isinstance(back, Mismatch)
        assert back.offset == offset
