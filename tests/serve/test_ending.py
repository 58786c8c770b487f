"""How a daemon ends while there is work: in this process, so that the work ends when the test says so."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

import cowshed
from cowshed.errors import Busy, Interrupted
from cowshed.serve import logs
from cowshed.serve.daemon import Daemon
from cowshed.serve.listeners import Listeners
from cowshed.serve.ownership import own
from cowshed.serve.principal import OWNER
from cowshed.serve.settings import load
from cowshed.serve.systemd import Notifier
from cowshed.serve.tasks import Subject, Task
from cowshed.store.progress import Progress
from cowshed.wire import sockets
from serve.daemons import PATIENCE, ask, until


class Live:
    """A daemon whose loop runs in the test's main thread while `play` runs in another."""

    def __init__(self, path: Path, **given: object) -> None:
        settings = load(str(path), given)
        self.path = path
        self.log = io.StringIO()
        logs.configure("json", "info", stream=self.log)
        kernel, self.store = own(settings, create=False, wait_seconds=0)
        self.listeners = Listeners(settings, {"control": [], "nbd": [], "rest": []})
        self.daemon = Daemon(settings, kernel, self.store, self.listeners, Notifier({}))
        self.services = self.daemon._services
        self.let_go = threading.Event()

    def work(self, progress: Progress) -> str:
        """Goes on until it is let go, or cancelled."""
        while not self.let_go.wait(0.01):
            progress(1, 2)
        return "whole"

    def start(self) -> Task:
        return self.services.tasks.start(Subject("copy", "client.1", OWNER, ("rbd/a",), ("rbd",)), self.work)

    def ready(self) -> tuple[int, Any]:
        connection = HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = sockets.connect(str(self.path / "daemon.sock"), PATIENCE)
        answer = ask(connection, "GET", "/readyz")
        return answer.status, answer.json

    def answers(self, name: str) -> bool:
        try:
            sockets.connect(str(self.path / name), PATIENCE).close()
        except OSError:
            return False
        return True

    def signal(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def event(self, name: str) -> dict[str, Any]:
        found = until(lambda: [e for e in self.events if e["event"] == name], name)
        assert isinstance(found, list)
        return dict(found[0])

    def run(self, play: Any) -> None:
        """Live, while `play(self)` goes on beside; what it raises is raised here."""
        failures: list[BaseException] = []

        def beside() -> None:
            try:
                self.event("daemon.ready")
                play(self)
            except BaseException as error:
                failures.append(error)
                self.let_go.set()
                self.signal()
                self.signal()

        player = threading.Thread(target=beside)
        player.start()
        asyncio.run(self.daemon.live())
        player.join(PATIENCE)
        if failures:
            raise failures[0]


@contextmanager
def living(path: Path, **given: object) -> Iterator[Live]:
    cowshed.init(path)
    live = Live(path, **given)
    try:
        yield live
    finally:
        live.let_go.set()
        live.daemon.close()
        live.listeners.close()
        live.store.close()


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    yield
    logs.configure("text", "error", stream=io.StringIO())


def test_work_is_waited_for_and_the_daemon_is_not_ready(tmp_path: Path) -> None:
    tasks = []

    def play(live: Live) -> None:
        assert live.ready() == (200, {"status": "ready"})
        tasks.append(live.start())
        live.signal()
        live.event("daemon.ending")
        until(lambda: not live.answers("nbd.sock"), "the end of NBD")
        # The API goes on as long as the task does, for whoever follows it.
        assert not any(api._server.should_exit for api in live.daemon._apis)
        assert live.ready() == (503, {"status": "not ready", "why": "the daemon is about to end"})
        live.let_go.set()

    with living(tmp_path / "store", drain=3600.0) as live:
        live.run(play)
        (task,) = tasks
        assert task.info().state == "done"
        assert "task.cancelled" not in [e["event"] for e in live.events]
        assert not live.answers("daemon.sock")


def test_work_that_takes_too_long_is_cancelled_with_a_word(tmp_path: Path) -> None:
    tasks = []

    def play(live: Live) -> None:
        tasks.append(live.start())
        live.signal()

    with living(tmp_path / "store", drain=0.05) as live:
        live.run(play)
        (task,) = tasks
        assert task.info().state == "cancelled"
        found = live.event("task.cancelled")
        assert (found["operation"], found["client"], found["specs"]) == ("copy", "client.1", "rbd/a")
        assert found["task"] == task.id
        with pytest.raises(Busy, match="stopping"):
            live.start()


def test_a_second_signal_hurries(tmp_path: Path) -> None:
    tasks = []

    def play(live: Live) -> None:
        tasks.append(live.start())
        live.signal()
        live.event("daemon.ending")
        assert live.ready()[0] == 503
        live.signal()

    began = time.monotonic()
    with living(tmp_path / "store", drain=3600.0) as live:
        live.run(play)
    assert tasks[0].info().state == "cancelled"
    assert tasks[0].info().error["class"] == Interrupted.__name__  # type: ignore[index]
    assert live.event("daemon.hurrying")["level"] == "warning"
    assert time.monotonic() - began < 3600


def test_an_answer_on_its_way_is_finished(tmp_path: Path) -> None:
    """A call of the store that has begun is answered, though the daemon was told to end meanwhile."""
    got = []

    def play(live: Live) -> None:
        began, let_go = threading.Event(), threading.Event()
        pool_stats = live.store.pool_stats

        def slow(*given: Any, **named: Any) -> Any:
            began.set()
            let_go.wait(PATIENCE)
            return pool_stats(*given, **named)

        live.store.pool_stats = slow  # type: ignore[method-assign]
        connection = HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = sockets.connect(str(live.path / "daemon.sock"), PATIENCE)
        asker = threading.Thread(target=lambda: got.append(ask(connection, "GET", "/v1/pool/stats?name=rbd")))
        asker.start()
        assert began.wait(PATIENCE)
        live.signal()
        live.event("daemon.ending")
        let_go.set()
        asker.join(PATIENCE)

    with living(tmp_path / "store") as live:
        live.run(play)
    assert [each.status for each in got] == [200]
    assert got[0].json["name"] == "rbd"
