"""Events: one for each change, to whoever may see it, resumed where a follower left off."""

from __future__ import annotations

import asyncio
import json
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from cowshed.errors import Busy
from cowshed.local import LocalStore
from cowshed.serve import events as module
from cowshed.serve.events import Events
from cowshed.serve.principal import OWNER, Principal
from serve.serving import Served

MIB = 1 << 20


class Follower:
    """Reads an event stream."""

    def __init__(self, opened: tuple[HTTPConnection, HTTPResponse]) -> None:
        self._connection, self._answer = opened
        assert self._answer.status == 200
        assert self._answer.headers["Content-Type"].startswith("text/event-stream")
        assert self.message() == {"": "events of run"}

    def message(self) -> dict[str, str]:
        """The fields of the next message; a comment's name is empty."""
        fields = {}
        while line := self._answer.readline().decode().rstrip("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value[:13] if not name else value
        return fields

    def event(self) -> dict[str, Any]:
        fields = self.message()
        assert set(fields) == {"id", "event", "data"}, fields
        data: dict[str, Any] = json.loads(fields["data"])
        assert (data["id"], data["operation"]) == (fields["id"], fields["event"])
        return data

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


def follow(here: Served, last_id: str | None = None) -> Follower:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    return Follower(here.opened("GET", "/v1/events", **headers))


def test_one_event_for_each_change(here: Served, store: LocalStore) -> None:
    follower, client = follow(here), here.as_client(9)
    client.call("create", spec="a", size=MIB)
    assert client.ask("create", spec="a", size=MIB).status == 409
    client.call("stat", spec="a")
    client.call("check")
    client.call("create_pool", name="p")
    client.call("copy", source="a", copy="p/b")
    task = client.ask("remove", headers={"Prefer": "respond-async"}, spec="p/b").json["id"]
    here.follow(task)
    client.call("reclaim")
    seen = [follower.event() for _ in range(5)]
    assert [(each["operation"], each["specs"], each["pools"]) for each in seen] == [
        ("create", ["rbd/a"], ["rbd"]),
        ("create_pool", [], ["p"]),
        ("copy", ["rbd/a", "p/b"], ["p", "rbd"]),
        ("remove", ["p/b"], ["p"]),
        ("reclaim", [], []),
    ]
    assert {each["client"] for each in seen} == {"client.9"}
    assert sorted(each["time"] for each in seen) == [each["time"] for each in seen]
    follower.close()

    # Again from behind the second; and from behind the last.
    again = follow(here, seen[1]["id"])
    assert [again.event() for _ in range(3)] == seen[2:]
    again.close()
    last = follow(here, seen[-1]["id"])
    client.call("create", spec="c", size=1)
    assert last.event()["specs"] == ["rbd/c"]
    last.close()


def test_what_is_half_done_is_told(here: Served, store: LocalStore) -> None:
    store.create("a", MIB)
    for name in ("kept", "gone"):
        store.create_snapshot(f"a@{name}")
    store.protect_snapshot("a@kept")
    follower = follow(here)
    assert here.ask("remove", spec="a").error == (409, "NotEmpty")
    assert here.ask("purge_snapshots", spec="none").error == (404, "NotFound")
    assert here.ask("purge_snapshots", spec="a").error == (409, "Busy")
    event = follower.event()
    assert (event["operation"], event["partly"]) == ("purge_snapshots", True)
    # A removal that is cancelled while its space comes back is a removal.
    store.unprotect_snapshot("a@kept")
    store.purge_snapshots("a")
    task = here.ask("remove", headers={"Prefer": "respond-async, attended"}, spec="a").json["id"]
    assert here.send("GET", f"/v1/tasks/{task}?wait=30&seen=0").json["state"] == "running"
    here.send("DELETE", f"/v1/tasks/{task}")
    assert here.follow(task)["state"] == "cancelled"
    event = follower.event()
    assert (event["operation"], event["specs"], event["partly"]) == ("remove", ["rbd/a"], True)
    assert list(store.images("rbd")) == []
    here.call("create", spec="b", size=1)
    assert follower.event()["partly"] is False
    follower.close()


@pytest.mark.parametrize("last_id", ["", "x", "00000000-1", "{run}-999", "{run}--1", "{run}-1x"])
def test_what_cannot_be_resumed_behind(here: Served, last_id: str) -> None:
    first = follow(here)
    here.call("create", spec="a", size=1)
    run = first.event()["id"].partition("-")[0]
    first.close()
    follower = follow(here, last_id.replace("{run}", run))
    reset = follower.event()
    assert reset["operation"] == "reset"
    here.call("create", spec="b", size=1)
    assert follower.event()["specs"] == ["rbd/b"]
    follower.close()
    # The reset's own id is one to resume behind.
    follower = follow(here, reset["id"])
    assert follower.event()["specs"] == ["rbd/b"]
    follower.close()


def test_a_stopping_daemon_ends_the_stream(here: Served) -> None:
    follower = follow(here)
    here.services.events.close()
    assert follower.message() == {}
    follower.close()


def test_a_follower_that_goes_is_forgotten(here: Served) -> None:
    follow(here).close()
    events = here.services.events

    async def gone() -> None:
        while events.followers:
            await asyncio.sleep(0.005)

    asyncio.run(asyncio.wait_for(gone(), 20))


def read(events: Events, count: int, who: Principal = OWNER, last_id: str | None = None) -> list[Any]:
    """The first messages of a stream, without the opening comment."""

    async def some() -> list[Any]:
        stream = events.follow(who, last_id)
        found = [await anext(stream) for _ in range(count + 1)]
        await stream.aclose()  # type: ignore[attr-defined]
        return found[1:]

    return [
        json.loads(message.split(b"data: ")[1]) if b"data: " in message else message
        for message in asyncio.run(asyncio.wait_for(some(), 20))
    ]


def test_what_left_the_ring_is_told_as_missing() -> None:
    events = Events(kept=3)
    events.tell("create", "client.1", ("rbd/0",), ("rbd",))
    (first,) = read(events, 1, last_id=f"{events.run}-0")
    for number in range(1, 4):
        events.tell("create", "client.1", (f"rbd/{number}",), ("rbd",))
    kept = read(events, 3, last_id=first["id"])
    assert [each["specs"] for each in kept] == [["rbd/1"], ["rbd/2"], ["rbd/3"]]
    events.tell("create", "client.1", ("rbd/4",), ("rbd",))
    after = read(events, 4, last_id=first["id"])
    assert [each["operation"] for each in after] == ["reset", "create", "create", "create"]
    assert [each["specs"] for each in after[1:]] == [["rbd/2"], ["rbd/3"], ["rbd/4"]]
    # The id of the reset stands before the first that follows.
    assert [each["specs"] for each in read(events, 3, last_id=after[0]["id"])] == [
        ["rbd/2"],
        ["rbd/3"],
        ["rbd/4"],
    ]


def test_silence_is_kept_alive() -> None:
    assert read(Events(keep_alive_seconds=0.01), 2) == [b": still here\n\n"] * 2


def test_who_sees_an_event() -> None:
    events = Events()
    start = f"{events.run}-0"
    events.tell("copy", "client.1", ("p/a", "q/b"), ("p", "q"))
    events.tell("reclaim", "client.1", (), ())
    events.tell("create", "client.1", ("p/c",), ("p",))
    of_p = Principal("x", "read", frozenset({"p"}))
    assert [each["operation"] for each in read(events, 1, of_p, start)] == ["create"]
    assert len(read(events, 3, Principal("y", "read", None), start)) == 3
    of_both = Principal("z", "read", frozenset({"p", "q"}))
    assert [each["operation"] for each in read(events, 2, of_both, start)] == ["copy", "create"]


def test_too_many_followers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLLOWERS", 1)

    async def two() -> None:
        events = Events()
        first = events.follow(OWNER, None)
        await anext(first)
        with pytest.raises(Busy):
            events.follow(OWNER, None)
        await first.aclose()  # type: ignore[attr-defined]
        await anext(events.follow(OWNER, None))

    asyncio.run(two())
