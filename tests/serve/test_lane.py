"""The short way answers what is in order, as the application would, and leaves it all else."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cowshed.local.image import LocalImage
from cowshed.local.store import LocalStore
from cowshed.opening import open_directly
from cowshed.serve.app import make_application
from cowshed.serve.callers import Door
from cowshed.serve.lane import Lane, Ways
from cowshed.serve.principal import trusting
from cowshed.serve.services import Services

GOOD: list[tuple[str, str, Any]] = [
    ("GET", "/v1/daemon", None),
    ("GET", "/v1/pools", None),
    ("POST", "/v1/images", {"spec": "a", "size": 1 << 20, "features": ["layering"]}),
    ("POST", "/v1/images", {"spec": "a", "size": 1 << 20}),  # is there
    ("GET", "/v1/images?pool=rbd", None),
    ("GET", "/v1/image?spec=a%20b", None),  # is not there
    ("POST", "/v1/snapshots", {"spec": "a@s"}),
    ("GET", "/v1/snapshots?spec=a&all_namespaces=true", None),
    ("DELETE", "/v1/snapshots?spec=a%40s", None),
    ("GET", "/v1/handles", None),
    ("GET", "/v1/handles/0123", None),
    ("DELETE", "/v1/handles/0123?written=true", None),
    ("GET", "/v1/tasks/none?wait=0", None),
    ("DELETE", "/v1/images?spec=a", None),
]
OTHER: list[tuple[str, str, Any]] = [
    ("GET", "/v1/images", None),
    ("GET", "/v1/images?pool=rbd&pool=rbd", None),
    ("GET", "/v1/images?pool=rbd&colour=blue", None),
    ("POST", "/v1/images", {"spec": "a"}),
    ("POST", "/v1/images", {"spec": "a", "size": "1"}),
    ("PUT", "/v1/images", {"spec": "a", "size": 1}),
    ("GET", "/v1/nothing", None),
    ("GET", f"/v1/handles/{'9' * 65}", None),
    ("GET", "/v1/handles/", None),
    ("GET", "/v1/handles/1/lock", None),
    ("GET", "/v1/openapi.json", None),
]


class Counting:
    """An application that is counted when it is asked."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.count += 1
        await self.app(scope, receive, send)


class Side:
    """A store of its own, and the application around it, with the short way or without."""

    def __init__(self, application: FastAPI, place: Path, *, short: bool) -> None:
        ways: Ways = application.state.ways
        self.behind = Counting(application)
        self.store = open_directly(place, create=True)
        self.services = Services(self.store)
        self.app = Door(Lane(self.behind, ways if short else {}), self.services, trusting)

    def ask(self, method: str, path: str, body: Any) -> list[Any]:
        """The answer: status, headers, body."""
        sent = b"" if body is None else json.dumps(body).encode()
        where, _, query = path.partition("?")
        headers = [(b"content-length", b"%d" % len(sent)), (b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "method": method,
            "path": where.replace("%40", "@"),
            "query_string": query.encode(),
            "headers": headers if sent else [],
        }
        pieces = [sent[:5], sent[5:]]
        messages: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: Message) -> None:
            messages.append(message)

        asyncio.run(self.app(scope, receive, send))
        start, *rest = messages
        text = b"".join(each.get("body", b"") for each in rest)
        return [start["status"], sorted(start["headers"]), text]

    def close(self) -> None:
        self.services.stop(1.0)
        self.store.close()


@pytest.fixture
def sides(tmp_path: Path) -> Any:
    application = make_application()
    made = [Side(application, tmp_path / name, short=name == "short") for name in ("short", "long")]
    yield made
    for side in made:
        side.close()


def plain(answer: list[Any]) -> list[Any]:
    """Without what differs from store to store."""
    status, headers, body = answer
    found = json.loads(body, object_hook=_lasting) if body else None
    return [status, [each for each in headers if each[0] not in _PASSING], found]


_PASSING = (b"content-length", b"cowshed-run")


def _lasting(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in record.items() if key not in ("target", "run", "store_id", "created")
    }


def test_both_ways_answer_alike_and_the_short_one_asks_no_application(sides: list[Side]) -> None:
    short, long = sides
    for request in GOOD:
        assert plain(short.ask(*request)) == plain(long.ask(*request)), request
    assert short.behind.count == 0
    assert long.behind.count == len(GOOD)


def test_the_application_hears_the_whole_of_what_is_not_in_order(sides: list[Side]) -> None:
    short, long = sides
    for number, request in enumerate(OTHER, 1):
        assert plain(short.ask(*request)) == plain(long.ask(*request)), request
        assert short.behind.count == number, request


def test_what_waits_is_done_by_another_thread(sides: list[Side], monkeypatch: pytest.MonkeyPatch) -> None:
    """And what looks up a few records is not: a list of snapshots is by how many there are."""
    side, _ = sides
    apart: dict[str, bool] = {}
    for name in ("create", "create_snapshot", "snapshots", "stat", "open", "close_handle"):
        of = LocalImage if name == "close_handle" else LocalStore
        _note_thread(monkeypatch, of, "close" if name == "close_handle" else name, apart, name)
    side.ask("POST", "/v1/images", {"spec": "a", "size": 1 << 20})
    side.ask("POST", "/v1/snapshots", {"spec": "a@0"})
    side.ask("GET", "/v1/snapshots?spec=a", None)
    _, _, handle = side.ask("POST", "/v1/handles", {"spec": "a"})
    side.ask("DELETE", f"/v1/handles/{json.loads(handle)['id']}", None)
    assert apart == {
        "create": True,
        "create_snapshot": True,
        "snapshots": False,
        "stat": False,
        "open": False,
        "close_handle": False,
    }
    _, _, handle = side.ask("POST", "/v1/handles", {"spec": "a"})
    side.ask("DELETE", f"/v1/handles/{json.loads(handle)['id']}?written=true", None)
    assert apart["close_handle"]
    for number in range(1, 60):
        side.store.create_snapshot(f"a@{number}")
    assert len(json.loads(side.ask("GET", "/v1/snapshots?spec=a", None)[2])) == 60
    assert apart["snapshots"]
    assert side.ask("GET", "/v1/snapshots?spec=none", None)[0] == 404


def _note_thread(
    monkeypatch: pytest.MonkeyPatch, of: type, method: str, apart: dict[str, bool], name: str
) -> None:
    """Keep whether it was called in another thread than that of the loop, which is the test's."""
    called = getattr(of, method)

    def noted(*given: Any, **named: Any) -> Any:
        apart[name] = threading.current_thread() is not threading.main_thread()
        return called(*given, **named)

    functools.update_wrapper(noted, called)
    monkeypatch.setattr(of, method, noted)
