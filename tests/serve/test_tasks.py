"""Tasks: their progress, their end, cancelling them, and going in step with who follows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from cowshed.errors import Busy, NotFound
from cowshed.local import LocalStore
from cowshed.serve import tasks as module
from cowshed.serve.principal import OWNER, Principal
from cowshed.serve.tasks import Subject, Tasks
from cowshed.store import Progress
from serve.serving import Served

MIB = 1 << 20
ASYNC = {"Prefer": "respond-async"}
SUBJECT = Subject("remove", "client.1", OWNER, ("rbd/a",), ("rbd",))


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ended(tasks: Tasks, task: module.Task) -> Any:
    until(lambda: task.ended is not None)
    return task.info()


def test_a_task_has_the_result_of_its_operation(here: Served, store: LocalStore) -> None:
    store.create("a", MIB)
    for name in "12345":
        store.create_snapshot(f"a@{name}")
    started = here.as_client(5).ask("purge_snapshots", headers=ASYNC, spec="a")
    assert started.status == 202
    assert started.headers["location"] == f"/v1/tasks/{started.json['id']}"
    info = here.follow(started.json["id"])
    assert (info["state"], info["result"], info["error"]) == ("done", 5, None)
    assert (info["operation"], info["specs"], info["client"]) == ("purge_snapshots", ["rbd/a"], "client.5")
    assert (info["done"], info["total"]) == (5, 5)
    assert info["ended"] >= info["started"]
    assert here.send("GET", "/v1/tasks").json == [info]
    assert store.snapshots("a") == []


def test_a_task_without_a_result(here: Served, store: LocalStore) -> None:
    store.create("a", MIB)
    task = here.ask("remove", headers={"Prefer": "wait=1, Respond-Async"}, spec="a").json["id"]
    assert (here.follow(task)["state"], here.follow(task)["result"]) == ("done", None)
    check = here.ask("check", headers=ASYNC).json["id"]
    assert here.follow(check)["result"] == []


def test_a_task_that_fails(here: Served, store: LocalStore) -> None:
    store.create("a", MIB)
    store.create_snapshot("a@s")
    task = here.ask("remove", headers=ASYNC, spec="a").json["id"]
    info = here.follow(task)
    assert (info["state"], info["result"]) == ("failed", None)
    assert info["error"]["class"] == "NotEmpty"
    assert "snap purge" in info["error"]["hint"]


def test_what_is_not_long_is_no_task(here: Served) -> None:
    assert here.ask("create", headers=ASYNC, spec="a", size=1).status == 204
    assert here.send("GET", "/v1/tasks").json == []


def test_no_such_task(here: Served) -> None:
    for method in ("GET", "DELETE"):
        assert here.send(method, "/v1/tasks/none").error == (404, "NotFound")
    for query in ("wait=-1", "wait=nan", "wait=1e9", "seen=x", "colour=blue"):
        assert here.send("GET", f"/v1/tasks/none?{query}").error == (400, "InvalidArgument")


def test_cancelling(here: Served) -> None:
    begun, tasks = threading.Event(), here.services.tasks

    def work(progress: Progress) -> None:
        done = 0
        while True:
            done += 1
            begun.set()
            progress(done, 0)
            time.sleep(0.001)

    task = tasks.start(SUBJECT, work)
    assert begun.wait(20)
    first = here.send("GET", f"/v1/tasks/{task.id}?wait=20&seen=0").json
    assert (first["state"], first["total"]) == ("running", 0)
    later = here.send("GET", f"/v1/tasks/{task.id}?wait=20&seen={first['changes']}").json
    assert later["changes"] > first["changes"]
    assert later["done"] > first["done"]
    assert here.send("DELETE", f"/v1/tasks/{task.id}").status == 200
    info = here.follow(task.id)
    assert (info["state"], info["error"]["class"]) == ("cancelled", "Interrupted")
    # Once more: nothing is different.
    assert here.send("DELETE", f"/v1/tasks/{task.id}").json == info


def test_cancelling_a_purge_stops_it_where_it_is(here: Served, store: LocalStore) -> None:
    # A purge removes 500 snapshots at a time, and tells of each time.
    store.create("a", MIB)
    for number in range(1010):
        store.create_snapshot(f"a@{number}")
    wish = {"Prefer": "respond-async, attended"}
    task = here.ask("purge_snapshots", headers=wish, spec="a").json["id"]
    info = here.send("GET", f"/v1/tasks/{task}?wait=30&seen=0").json
    assert (info["state"], info["done"], info["total"]) == ("running", 500, 1010)
    info = here.send("GET", f"/v1/tasks/{task}?wait=30&seen={info['changes']}").json
    assert (info["state"], info["done"], info["total"]) == ("running", 1000, 1010)
    here.send("DELETE", f"/v1/tasks/{task}")
    assert here.follow(task)["state"] == "cancelled"
    assert store.stat("a").snapshot_count == 10
    # And one that is let go on does so.
    task = here.ask("purge_snapshots", headers=wish, spec="a").json["id"]
    assert here.follow(task)["result"] == 10


def test_who_attends_and_goes_does_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ATTENDANCE_SECONDS", 0.05)
    tasks = Tasks()

    def work(progress: Progress) -> str:
        for done in range(2000):
            progress(done, 2000)
        return "through"

    # With 2000 steps it would take 100 s to wait at each.
    info = ended(tasks, tasks.start(SUBJECT, work, attended=True))
    assert info.result == "through"


def test_a_fault_is_told_without_its_words() -> None:
    reported: list[BaseException] = []
    tasks = Tasks(report=reported.append)

    def work(progress: Progress) -> None:
        raise ZeroDivisionError("a secret")

    info = ended(tasks, tasks.start(SUBJECT, work))
    assert info.state == "failed"
    assert info.error is not None
    assert info.error["class"] == "CowshedError"
    assert "secret" not in str(info)
    assert [type(error) for error in reported] == [ZeroDivisionError]


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RUNNING", 2)
    monkeypatch.setattr(module, "KEPT", 3)
    tasks, go = Tasks(), threading.Event()

    def wait(progress: Progress) -> None:
        assert go.wait(20)

    running = [tasks.start(SUBJECT, wait) for _ in range(2)]
    with pytest.raises(Busy, match="2 tasks"):
        tasks.start(SUBJECT, wait)
    assert tasks.running() == running
    go.set()
    for task in running:
        ended(tasks, task)
    for _ in range(4):
        running.append(tasks.start(SUBJECT, wait))
        ended(tasks, running[-1])
    kept = [task.id for task in tasks.all(OWNER)]
    assert kept == [task.id for task in running[-3:]]
    with pytest.raises(NotFound):
        tasks.get(running[0].id, OWNER)
    monkeypatch.setattr(module, "KEPT_SECONDS", -1.0)
    assert tasks.all(OWNER) == []


def test_stopping() -> None:
    tasks, begun = Tasks(), threading.Event()

    def work(progress: Progress) -> None:
        while True:
            begun.set()
            progress(0, 0)

    task = tasks.start(SUBJECT, work)
    assert begun.wait(20)
    assert tasks.stop("the daemon is stopping", 20)
    assert (task.info().state, tasks.running()) == ("cancelled", [])
    with pytest.raises(Busy, match="stopping"):
        tasks.start(SUBJECT, work)


def test_who_sees_a_task() -> None:
    tasks = Tasks()
    task = tasks.start(SUBJECT, lambda progress: None)
    ended(tasks, task)
    for pools, seen in ((None, 1), (frozenset({"rbd"}), 1), (frozenset({"p"}), 0), (frozenset(), 0)):
        who = Principal("x", "read", pools)
        assert len(tasks.all(who)) == seen
