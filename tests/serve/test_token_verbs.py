"""`cowshed token`: as people use it, without a daemon."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import cowshed
from cowshed.serve.tokens import Tokens
from serve.daemons import run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    cowshed.init(path)
    return path


def test_create_ls_rm(store: Path) -> None:
    text = run(store, "token", "create", "nova", "--role", "operate", "--pool", "vms", "--pool", "x").strip()
    found = Tokens(store).find(text)
    assert found is not None
    assert (found.name, found.role, found.pools, found.expires) == ("nova", "operate", ("vms", "x"), None)
    made = json.loads(
        run(store, "token", "create", "b", "--role", "read", "--expires", "30d", "--format", "json")
    )
    assert made["name"] == "b"
    found = Tokens(store).find(made["token"])
    assert found is not None
    assert found.pools is None
    assert found.expires == pytest.approx(time.time() + 30 * 86400, abs=3600)
    lines = run(store, "token", "ls").splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["NAME", "ROLE", "POOLS"],
        ["nova", "operate", "vms,x"],
        ["b", "read", "all"],
    ]
    assert lines[1].endswith("never")
    listed = json.loads(run(store, "token", "ls", "--format", "json"))
    assert [(each["name"], each["expired"]) for each in listed] == [("nova", False), ("b", False)]
    assert text not in json.dumps(listed)
    assert "sha256" not in json.dumps(listed)
    assert run(store, "token", "rm", "nova") == ""
    assert [each.name for each in Tokens(store).entries()] == ["b"]


def test_an_expired_one_is_shown_as_such(store: Path) -> None:
    Tokens(store).create("old", "read", expires=time.time() - 1)
    assert "expired" in run(store, "token", "ls")
    assert json.loads(run(store, "token", "ls", "--format", "json"))[0]["expired"]


def test_it_works_while_another_has_the_store(store: Path) -> None:
    with cowshed.open(store):
        run(store, "token", "create", "a", "--role", "read")
    assert run(store, "token", "ls").count("\n") == 2


@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["create", "a"], 22, "--role"),
        (["create", "a", "--role", "root"], 22, "--role"),
        (["create", "a b", "--role", "read"], 22, "cannot be a token's name"),
        (["create", "a", "--role", "read", "--expires", "soon"], 22, "'soon' is not a time"),
        (["rm", "gone"], 2, "no token 'gone'"),
    ],
)
def test_what_is_refused(store: Path, words: list[str], status: int, complaint: str) -> None:
    said = run(store, "token", *words, status=status)
    assert complaint in said
    assert said.startswith("cowshed: token ")


def test_where_there_is_no_store(tmp_path: Path) -> None:
    for words in (["ls"], ["rm", "a"], ["create", "a", "--role", "read"]):
        assert "no store at" in run(tmp_path / "gone", "token", *words, status=2)
        assert "no store at" in run(tmp_path, "token", *words, status=2)
    assert not (tmp_path / "tokens.json").exists()
