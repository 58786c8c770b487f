"""The OpenAPI document, and the application held to it by schemathesis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as conformance

import cowshed
from cowshed.local import LocalStore
from cowshed.serve.app import make_app
from cowshed.serve.services import Services
from cowshed.store import Store
from cowshed.wire import answers
from cowshed.wire.operations import OPERATIONS
from serve.serving import Served

SEED = 20261122
EXAMPLES = 6


@pytest.fixture
def document(here: Served) -> dict[str, Any]:
    found = here.send("GET", "/v1/openapi.json").json
    assert isinstance(found, dict)
    return found


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    by_id = {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    others = {"open", "handles", "handle", "close_handle", "lock_owner", "lock_acquire", "lock_release"}
    others |= {"lock_break", "diff", "tasks", "task", "cancel", "events", "daemon"}
    assert set(by_id) == set(OPERATIONS) | others
    for row in OPERATIONS.values():
        method, path, operation = by_id[row.name]
        assert (method, path) == (row.method, "/v1" + row.path)
        assert operation["summary"]
        codes = set(operation["responses"])
        assert len(codes & {"200", "201", "204"}) == 1
        assert ("202" in codes) == row.long
        assert codes >= {"400", "401", "403", "404", "409", "410", "422", "500", "503", "507"}
    schemas = document["components"]["schemas"]
    assert {"ImageStat", "SnapshotInfo", "PoolInfo", "StoreUsage", "LockInfo", "TaskInfo"} <= set(schemas)
    assert set(schemas["ImageStat"]["properties"]) == set(cowshed.store.ImageStat.__dataclass_fields__)
    assert set(schemas["TaskInfo"]["properties"]) == set(answers.TaskInfo.__dataclass_fields__)
    stat = by_id["stat"][2]["responses"]["200"]["content"]["application/json"]["schema"]
    assert stat == {"$ref": "#/components/schemas/ImageStat"}
    error = document["components"]["responses"]["Error"]["content"]["application/json"]["schema"]
    assert error == {"$ref": "#/components/schemas/ErrorAnswer"}
    assert "Raises" in json.dumps(by_id["create"][2])
    assert Store.create.__doc__


# What is answered must be as described, whatever is asked; and what is not as described must be refused.
CHECKS = [
    checks.not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_schema_conformance,
    conformance.response_headers_conformance,
    conformance.negative_data_rejection,
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with cowshed.open(tmp_path / "store", create=True) as store:
        assert isinstance(store, LocalStore)
        store.create("a", 1 << 20)
        store.create_snapshot("a@s")
        yield store
        assert store.check() == []


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value
)
def test_schemathesis(store: LocalStore, mode: GenerationMode) -> None:
    print("seed", SEED)
    services = Services(store)
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", make_app(services))
    tried: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]
        name = operation.definition.raw["operationId"]
        if name == "events":  # its answer does not end
            continue
        try:
            cases = operation.as_strategy(mode)
            attempt(cases, tried, name)
        except Unsatisfiable:  # nothing about it can be wrong
            assert mode == GenerationMode.NEGATIVE
    services.stop(10)
    assert len(tried) > len(OPERATIONS) - 5


def attempt(cases: SearchStrategy[schemathesis.Case[Any]], tried: set[str], name: str) -> None:
    """Some cases of one operation."""

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def one(case: schemathesis.Case[Any]) -> None:
        tried.add(name)
        case.call_and_validate(checks=CHECKS)

    one()
