"""A real daemon: `python -m cowshed serve` in a process of its own, as a service manager runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

from cowshed.wire import sockets

PATIENCE = 60.0
"""Seconds until a test gives up waiting for what must come."""


def until(found: Callable[[], Any], what: str) -> Any:
    """What `found` returns, once it is true."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)
    return value


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(connection: HTTPConnection, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    """One request; the connection is closed then."""
    try:
        text = None if body is None else json.dumps(body)
        if text is not None:
            headers["Content-Type"] = "application/json"
        connection.request(method, path, text, headers)
        answer = connection.getresponse()
        kept = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, kept, answer.read())
    finally:
        connection.close()


@dataclass
class Daemon:
    """One that runs."""

    store: Path
    process: subprocess.Popen[str]
    ear: socket.socket
    lines: list[str] = field(default_factory=list)
    said: list[dict[str, str]] = field(default_factory=list)

    def listen(self) -> None:
        """Take in all that it writes, for as long as it lives."""

        def read() -> None:
            assert self.process.stderr
            for line in self.process.stderr:
                self.lines.append(line.rstrip("\n"))

        self._reader = threading.Thread(target=read)
        self._reader.start()

    def hear(self, wanted: str) -> dict[str, str]:
        """The next message to the service manager that has this key; all others are in `said`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.ear.settimeout(0.1)
            try:
                message = self.ear.recv(4096).decode()
            except TimeoutError:
                assert self.process.poll() is None, f"it ended: {self.lines}"
                assert time.monotonic() < deadline, f"{wanted} was not said: {self.said}, {self.lines}"
                continue
            found = dict(line.split("=", 1) for line in message.split("\n"))
            self.said.append(found)
            if wanted in found:
                return found

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines that it wrote so far, which must all be JSON."""
        return [json.loads(line) for line in list(self.lines)]

    def event(self, name: str) -> dict[str, Any]:
        """The first event of that name, once it is there."""
        return until(lambda: next((e for e in self.events if e["event"] == name), None), name)  # type: ignore[no-any-return]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """A request through the control socket."""
        connection = HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = sockets.connect(str(self.store / "daemon.sock"), PATIENCE)
        return ask(connection, method, path, body, **headers)

    def port(self, way: str) -> int:
        """The TCP port of `nbd` or `api`."""
        shown = self.event("daemon.ready")[way].split(",")[-1]
        return int(shown.rpartition(":")[2])

    def ask_tcp(
        self, method: str, path: str, *, trust: ssl.SSLContext | None = None, token: str | None = None
    ) -> Reply:
        """A request through TCP."""
        port = self.port("api")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if trust:
            secure = HTTPSConnection("localhost", port, timeout=PATIENCE, context=trust)
            return ask(secure, method, path, **headers)
        return ask(HTTPConnection("127.0.0.1", port, timeout=PATIENCE), method, path, **headers)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """SIGTERM, and its exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        status = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return status


COMMAND = [sys.executable, "-m", "cowshed"]


def environment() -> dict[str, str]:
    """Nothing of the user's that changes what a daemon does."""
    unwanted = ("COWSHED_", "LISTEN_", "NOTIFY_", "WATCHDOG_")
    return {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}


@contextmanager
def serving(
    store: Path,
    *words: object,
    ready: bool = True,
    wrapper: Sequence[str] = (),
    pass_fds: Sequence[int] = (),
    **extra: str,
) -> Iterator[Daemon]:
    """A daemon of `store`, ready; ended at the end, if it is not over then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0cowshed-{os.getpid()}-{os.urandom(4).hex()}")
        address = "@" + ear.getsockname()[1:].decode()
        command = [*COMMAND, "--store", str(store), "serve", "--log-format", "json", *map(str, words)]
        process = subprocess.Popen(
            [*wrapper, *command],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
            env={**environment(), "NOTIFY_SOCKET": address, **extra},
        )
        daemon = Daemon(store, process, ear)
        daemon.listen()
        try:
            if ready:
                daemon.hear("READY")
            yield daemon
        finally:
            if process.poll() is None:
                process.kill()
            daemon.wait()
            assert process.stderr
            process.stderr.close()


def run(store: Path, *words: object, status: int = 0) -> str:
    """A command on the store; what it printed, or complained where it was to fail."""
    ended = subprocess.run(
        [*COMMAND, "--store", str(store), *map(str, words)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == status, (ended.stdout, ended.stderr)
    assert "Traceback" not in ended.stderr
    return ended.stderr if status else ended.stdout
