"""Who may do what: roles, and tokens for some pools only."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cowshed.errors import NotAuthenticated
from cowshed.local import LocalStore
from cowshed.serve.principal import Principal, Scope
from cowshed.serve.services import Services
from cowshed.store import Store
from cowshed.wire.operations import OPERATIONS, Operation
from serve.serving import Served, served

MIB = 1 << 20
PRINCIPALS = {
    "reader": Principal("reader", "read"),
    "operator": Principal("operator", "operate"),
    "admin": Principal("admin", "admin"),
    "tenant": Principal("tenant", "admin", frozenset({"mine"})),
    "guest": Principal("guest", "read", frozenset({"mine"})),
}


def authorise(scope: Scope) -> Principal:
    for name, value in scope["headers"]:
        if name == b"authorization":
            found = PRINCIPALS.get(value.decode().removeprefix("Bearer "))
            if found:
                return found
    raise NotAuthenticated("no such token")


@pytest.fixture
def here(store: LocalStore, tmp_path: Path) -> Iterator[Served]:
    store.create_pool("mine")
    store.create_pool("other")
    store.create("mine/a", MIB)
    store.create("other/a", MIB)
    with served(Services(store), tmp_path / "socket", authorise=authorise) as here:
        yield here


def some_arguments(row: Operation) -> dict[str, Any]:
    """Arguments of the right types, about things that do not exist."""
    hints = typing.get_type_hints(getattr(Store, row.name))
    values: dict[Any, Any] = {str: "none", int: 1, float: 1.0, bool: True}
    made: dict[str, Any] = {}
    for name, parameter in inspect.signature(getattr(Store, row.name)).parameters.items():
        if name in row.specs:
            made[name] = "none/none@none" if "SnapSpec" in str(hints[name]) else "none/none"
        elif name not in ("self", "progress") and parameter.default is inspect.Parameter.empty:
            several = [{"do": "create"}] if "ObjectStep" in str(hints[name]) else ["layering"]
            made[name] = values.get(hints[name], several if "Sequence" in str(hints[name]) else None)
    return made


@pytest.mark.parametrize("token", ["reader", "operator", "admin"])
def test_every_operation_needs_its_role(here: Served, token: str) -> None:
    client = here.with_token(token)
    for row in OPERATIONS.values():
        reply = client.ask(row.name, **some_arguments(row))
        refused = reply.status == 403 and reply.error[1] == "PermissionDenied"
        assert refused == (not PRINCIPALS[token].has(row.role)), (row.name, reply)
        if refused:
            assert repr(row.role) in reply.json["error"]["message"]


def test_every_operation_keeps_to_the_tokens_pools(here: Served) -> None:
    client = here.with_token("tenant")
    for row in OPERATIONS.values():
        if row.name == "pools":
            continue
        reply = client.ask(row.name, **some_arguments(row))
        if row.name == "config":  # names neither an image nor a pool here: that is what is wrong with it
            assert reply.error in [(403, "PermissionDenied")]
            continue
        assert reply.error == (403, "PermissionDenied"), row.name


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("clone", {"parent": "other/a@s", "child": "mine/b"}),
        ("copy", {"source": "other/a", "copy": "mine/b"}),
        ("copy", {"source": "mine/a", "copy": "other/b"}),
        ("prepare_migration", {"source": "other/a", "target": "mine/b"}),
        ("set_config", {"key": "rbd_cache", "value": "true", "image": "mine/a", "pool": "other"}),
        ("create", {"spec": "b", "size": 1}),
        ("images", {"pool": "other"}),
        ("remove_pool", {"name": "other"}),
        ("check", {}),
        ("facts", {}),
        ("store_usage", {}),
    ],
)
def test_all_pools_of_a_call_count(here: Served, operation: str, arguments: dict[str, Any]) -> None:
    reply = here.with_token("tenant").ask(operation, **arguments)
    assert reply.error == (403, "PermissionDenied")
    assert "mine" in reply.json["error"]["hint"]


def test_what_a_token_may_see(here: Served) -> None:
    client = here.with_token("tenant")
    assert [pool.name for pool in client.call("pools")] == ["mine"]
    assert [pool.name for pool in here.with_token("reader").call("pools")] == ["mine", "other", "rbd"]
    assert client.call("images", pool="mine") == iter(["a"]) or list(client.call("images", pool="mine")) == [
        "a"
    ]


@pytest.mark.parametrize(
    "path", ["/v1/pools", "/v1/openapi.json", "/v1/nothing", "/metrics", "/", "/v1/tasks"]
)
def test_nobody_is_let_in_unknown(here: Served, path: str) -> None:
    for client in (here, here.with_token("forged")):
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            reply = client.send(method, path)
            assert reply.error == (401, "NotAuthenticated")
            assert reply.headers["www-authenticate"] == "Bearer"


def test_handles_are_their_principals(here: Served) -> None:
    tenant, operator, guest = (here.with_token(name) for name in ("tenant", "operator", "guest"))
    assert tenant.send("POST", "/v1/handles", {"spec": "other/a"}).error == (403, "PermissionDenied")
    assert guest.send("POST", "/v1/handles", {"spec": "mine/a"}).error == (403, "PermissionDenied")
    reading = guest.send("POST", "/v1/handles", {"spec": "mine/a", "read_only": True})
    assert (reading.status, reading.json["read_only"]) == (201, True)
    handle = tenant.send("POST", "/v1/handles", {"spec": "mine/a"}).json["id"]
    assert operator.send("GET", f"/v1/handles/{handle}").error == (404, "NotFound")
    assert operator.send("DELETE", f"/v1/handles/{handle}").error == (404, "NotFound")
    of_other = operator.send("POST", "/v1/handles", {"spec": "other/a"}).json["id"]
    for client, seen in ((tenant, 2), (guest, 2), (operator, 3)):
        listed = client.send("GET", "/v1/handles").json
        assert len(listed) == seen
        assert all(each["export"] is None for each in listed)
        assert (of_other in [each["id"] for each in listed]) == (client is operator)


def test_tasks_and_events_are_seen_by_pool(here: Served) -> None:
    reader, tenant, guest = (here.with_token(name) for name in ("reader", "tenant", "guest"))
    started = tenant.ask("remove", headers={"Prefer": "respond-async"}, spec="mine/a")
    assert started.status == 202
    task = started.json["id"]
    assert tenant.follow(task)["state"] == "done"
    assert guest.send("GET", f"/v1/tasks/{task}").status == 200
    assert guest.send("DELETE", f"/v1/tasks/{task}").error == (403, "PermissionDenied")
    whole = here.with_token("admin").ask("reclaim", headers={"Prefer": "respond-async"}).json["id"]
    assert here.with_token("admin").follow(whole)["state"] == "done"
    assert tenant.send("GET", f"/v1/tasks/{whole}").error == (404, "NotFound")
    assert [each["id"] for each in tenant.send("GET", "/v1/tasks").json] == [task]
    assert [each["id"] for each in reader.send("GET", "/v1/tasks").json] == [task, whole]
