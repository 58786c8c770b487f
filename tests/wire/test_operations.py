"""The table against the interface: nothing is missing, and every name in a row is a parameter's."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Sequence
from typing import Any

import pytest

from cowshed.errors import InvalidArgument
from cowshed.store import GroupSpec, ImageSpec, SnapSpec, Store
from cowshed.wire.operations import OPERATIONS, ROLES, Operation

APART = {"open", "close", "target", "client"}
ROWS = list(OPERATIONS.values())


def parameters(row: Operation) -> dict[str, inspect.Parameter]:
    found = dict(inspect.signature(getattr(Store, row.name)).parameters)
    del found["self"]
    return found


def hints(row: Operation) -> dict[str, Any]:
    return typing.get_type_hints(getattr(Store, row.name))


def parts(kind: Any) -> set[Any]:
    return set(typing.get_args(kind)) or {kind}


def test_every_method_has_its_row() -> None:
    public = {name for name in dir(Store) if not name.startswith("_")}
    assert set(OPERATIONS) == public - APART
    assert public >= APART


def test_a_path_belongs_to_one_operation() -> None:
    places = [(row.method, row.path) for row in ROWS]
    assert len(set(places)) == len(places)
    assert all(row.path.startswith("/") and not row.path.endswith("/") for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_row_fits_its_method(row: Operation) -> None:
    kinds = hints(row)
    specs = [
        name
        for name in parameters(row)
        if {GroupSpec, ImageSpec, SnapSpec} & parts(kinds[name]) and name != "return"
    ]
    assert list(row.specs) == specs
    of_pool = {"create_pool", "remove_pool", "pool_stats", "mirror_mode"}
    expected = "name" if row.name in of_pool else "pool" if "pool" in parameters(row) else None
    assert row.pool == expected
    # A restricted token is let in by what a call names; one that names nothing is for the whole store.
    assert specs or expected or row.name in {"pools", "facts", "store_usage", "check", "reclaim"}
    assert row.long == ("progress" in parameters(row) or row.name == "check")
    assert row.role in ROLES
    assert row.role == "read" or row.method != "GET"
    # What only reads is asked for with GET, unless it takes what a query cannot hold.
    asked = any(typing.get_origin(kinds[name]) is Sequence for name in parameters(row))
    assert row.method == "GET" or row.role != "read" or asked
    assert row.changes == (row.role != "read" and row.name != "check")


@pytest.mark.parametrize("row", [row for row in ROWS if row.in_query], ids=lambda row: row.name)
def test_what_is_in_a_query_can_be(row: Operation) -> None:
    # None is told by leaving the parameter out, so no other default may stand behind it.
    for name, parameter in parameters(row).items():
        kind = hints(row)[name]
        if type(None) in parts(kind):
            assert parameter.default is None, name
        assert typing.get_origin(kind) is not Sequence, name


def test_what_only_an_admin_may_do() -> None:
    admin = {row.name for row in ROWS if row.role == "admin"}
    assert admin == {"create_pool", "remove_pool", "check", "reclaim"}


def test_subjects() -> None:
    rename, config = OPERATIONS["rename"], OPERATIONS["config"]
    assert rename.subjects({"spec": "a", "new": "p/n/b"}) == (("rbd/a", "p/n/b"), ("p", "rbd"))
    assert config.subjects({"where": None, "pool": "p"}) == ((), ("p",))
    assert config.subjects({"where": "q/x@s", "pool": None}) == (("q/x@s",), ("q",))
    assert OPERATIONS["check"].subjects({}) == ((), ())
    with pytest.raises(InvalidArgument):
        rename.subjects({"spec": "a//b", "new": "c"})
