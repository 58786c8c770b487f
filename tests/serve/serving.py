"""A store that is served to the test: the application on a Unix socket, in a thread of this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import uvicorn

from cowshed.serve.app import make_app
from cowshed.serve.principal import Authorise, trusting
from cowshed.serve.services import Services
from cowshed.wire import sockets
from cowshed.wire.http import API
from cowshed.wire.operations import OPERATIONS
from cowshed.wire.records import decode, result_type
from cowshed.wire.requests import request


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json", self.body
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """The status and the class."""
        found = self.json["error"]
        assert set(found) == {"class", "errno", "message", "hint"}
        return self.status, found["class"]


@dataclass
class Served:
    """A way to a served store."""

    path: str
    services: Services
    headers: dict[str, str] = field(default_factory=dict)

    def connect(self) -> HTTPConnection:
        connection = HTTPConnection("localhost", timeout=30)
        connection.sock = sockets.connect(self.path, 30)
        return connection

    def opened(self, method: str, path: str, **headers: str) -> tuple[HTTPConnection, HTTPResponse]:
        """A request whose answer is read by the test."""
        connection = self.connect()
        connection.request(method, path, headers={**self.headers, **headers})
        return connection, connection.getresponse()

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """A request as it is; `body` is JSON, or bytes. `_` in names of headers is `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            named.setdefault("Content-Type", "application/json")
        connection = self.connect()
        try:
            connection.request(method, path, body, {**self.headers, **named})
            got = connection.getresponse()
            return Reply(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())
        finally:
            connection.close()

    def ask(self, operation: str, /, *, headers: dict[str, str] | None = None, **arguments: Any) -> Reply:
        """An operation, by its name."""
        method, path, body = request(OPERATIONS[operation], arguments)
        return self.send(method, path, body, **(headers or {}))

    def call(self, operation: str, /, **arguments: Any) -> Any:
        """An operation's result."""
        reply = self.ask(operation, **arguments)
        assert reply.status in (200, 201, 204), reply
        value = None if reply.status == 204 else reply.json
        return decode(result_type(operation), value)

    def as_client(self, number: int) -> Served:
        """The same for another client."""
        headers = {"Cowshed-Client": f"client.{number}", "Cowshed-Address": f"there:0/{number}"}
        return Served(self.path, self.services, {**self.headers, **headers})

    def with_token(self, token: str) -> Served:
        return Served(self.path, self.services, {**self.headers, "Authorization": f"Bearer {token}"})

    def follow(self, task: str) -> Any:
        """A task, once it has ended."""
        seen = -1
        while True:
            info = self.send("GET", f"{API}/tasks/{task}?wait=30&seen={seen}").json
            if info["state"] != "running":
                return info
            seen = info["changes"]


@contextmanager
def served(services: Services, path: Path, *, authorise: Authorise = trusting) -> Iterator[Served]:
    """Serve at a Unix socket until the end of the block."""
    config = uvicorn.Config(
        make_app(services, authorise=authorise), http="h11", ws="none", lifespan="on", log_config=None
    )
    server = uvicorn.Server(config)
    listener = sockets.bind(str(path))
    listener.listen(128)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield Served(str(path), services)
    finally:
        services.stop(10)
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()
