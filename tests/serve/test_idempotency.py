"""The same change asked for twice is done once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cowshed.errors import InvalidArgument, NotFound
from cowshed.local import LocalStore
from cowshed.serve import idempotency as module
from cowshed.serve.idempotency import Answer, Idempotency, OtherRequest
from serve.serving import Served

KEY = {"Idempotency-Key": "k 1"}


def test_the_same_request_gets_the_same_answer(here: Served, store: LocalStore) -> None:
    first = here.ask("create_pool", headers=KEY, name="p")
    again = here.ask("create_pool", headers=KEY, name="p")
    assert (first.status, first.body) == (again.status, again.body)
    assert first.status == 201
    assert [pool.name for pool in store.pools()] == ["p", "rbd"]
    # It is the old answer, whatever happened since; and another key asks anew.
    store.remove_pool("p")
    assert here.ask("create_pool", headers=KEY, name="p").body == first.body
    assert [pool.name for pool in store.pools()] == ["rbd"]
    assert here.ask("create_pool", headers={"Idempotency-Key": "k 2"}, name="p").status == 201
    assert here.ask("create_pool", name="p").error == (409, "AlreadyExists")


def test_errors_and_empty_answers_are_answers(here: Served, store: LocalStore) -> None:
    assert here.ask("remove", headers=KEY, spec="a").error == (404, "NotFound")
    store.create("a", 1)
    assert here.ask("remove", headers=KEY, spec="a").error == (404, "NotFound")
    for _ in range(2):
        reply = here.ask("remove", headers={"Idempotency-Key": "other"}, spec="a")
        assert (reply.status, reply.body) == (204, b"")


def test_another_request_with_the_key(here: Served) -> None:
    here.ask("create", headers=KEY, spec="a", size=1)
    for name, arguments in (
        ("create", {"spec": "a", "size": 2}),
        ("create", {"spec": "b", "size": 1}),
        ("remove", {"spec": "a"}),
    ):
        assert here.ask(name, headers=KEY, **arguments).error == (422, "InvalidArgument")
    # Who else uses the same text means something else by it.
    assert here.as_client(3).ask("create", headers=KEY, spec="b", size=1).status == 204
    assert here.ask("stat", headers=KEY, spec="a").status == 200


def test_a_task_is_started_once(here: Served, store: LocalStore) -> None:
    store.create("a", 1)
    wish = {**KEY, "Prefer": "respond-async"}
    first, again = (here.ask("remove", headers=wish, spec="a") for _ in range(2))
    assert first.status == again.status == 202
    assert first.headers["location"] == again.headers["location"]
    here.follow(first.json["id"])
    assert len(here.send("GET", "/v1/tasks").json) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "\x7f"])
def test_what_is_no_key(here: Served, key: str) -> None:
    reply = here.ask("create", headers={"Idempotency-Key": key}, spec="a", size=1)
    assert reply.error == (400, "InvalidArgument")


def test_duplicates_at_the_same_time(here: Served, store: LocalStore) -> None:
    store.create("a", 1)
    with ThreadPoolExecutor(16) as pool:
        for number in range(8):
            headers = {"Idempotency-Key": f"at once {number}"}
            replies = list(
                pool.map(
                    lambda _, spec=f"a@{number}", sent=headers: here.ask(
                        "create_snapshot", headers=sent, spec=spec
                    ),
                    range(16),
                )
            )
            assert {reply.status for reply in replies} == {201}
            assert len({reply.body for reply in replies}) == 1
    assert len(store.snapshots("a")) == 8


def test_who_comes_second_waits_and_runs_nothing() -> None:
    kept, entered, go, runs = Idempotency(), threading.Event(), threading.Event(), []

    def run() -> Answer:
        runs.append(1)
        entered.set()
        assert go.wait(20)
        return Answer(201, b"1")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.once, "me", "k", "request", run)
        assert entered.wait(20)
        second = pool.submit(kept.once, "me", "k", "request", run)
        with pytest.raises(OtherRequest):
            kept.once("me", "k", "other", run)
        assert not second.done()
        go.set()
        assert first.result(20) == second.result(20) == Answer(201, b"1")
    assert len(runs) == 1


@pytest.mark.parametrize("fails", [True, False])
def test_a_failure_of_the_daemons_own_is_tried_anew(fails: bool) -> None:
    kept = Idempotency()

    def broken() -> Answer:
        if fails:
            raise NotFound("x")
        return Answer(500)

    if fails:
        with pytest.raises(NotFound):
            kept.once("me", "k", "request", broken)
    else:
        assert kept.once("me", "k", "request", broken) == Answer(500)
    assert kept.once("me", "k", "request", lambda: Answer(200)) == Answer(200)
    assert kept.once("me", "k", "request", broken) == Answer(200)


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    kept = Idempotency(clock=lambda: now)
    runs: list[str] = []

    def ask(key: str, body: bytes = b"") -> None:
        kept.once("me", key, "request", lambda: runs.append(key) or Answer(200, body))  # type: ignore[func-returns-value]

    def asked(*keys: str) -> list[str]:
        runs.clear()
        for key in keys:
            ask(key)
        return runs

    assert asked("a", "a") == ["a"]
    now = module.KEPT_SECONDS - 1
    assert asked("a", "b") == ["b"]
    now = module.KEPT_SECONDS + 1
    assert asked("a", "b") == ["a"]
    monkeypatch.setattr(module, "KEPT", 2)
    assert asked("b", "a") == []
    assert asked("c", "a", "b") == ["c", "b"]
    monkeypatch.setattr(module, "KEPT", 100)
    monkeypatch.setattr(module, "KEPT_BYTES", 10)
    runs.clear()
    ask("large", b"x" * 11)
    assert asked("d", "large") == ["d", "large"]
    with pytest.raises(InvalidArgument):
        ask("")
