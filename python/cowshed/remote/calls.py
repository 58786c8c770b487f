"""Questions to a daemon: results decoded, errors raised as the very ones of the other side."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import urlencode

from cowshed.errors import Closed, CowshedError, InvalidArgument, IOFailure, UnsupportedTarget
from cowshed.process import Home
from cowshed.remote.endpoint import Endpoint, UnixEndpoint
from cowshed.remote.following import follow
from cowshed.remote.http import Answer, Http
from cowshed.store.progress import Progress
from cowshed.wire import errors, records
from cowshed.wire.answers import DaemonInfo, TaskInfo
from cowshed.wire.http import (
    ADDRESS_HEADER,
    API,
    ATTENDED,
    CLIENT_HEADER,
    IDEMPOTENCY_HEADER,
    PREFER_HEADER,
    PROTOCOL,
    PROTOCOL_HEADER,
    RESPOND_ASYNC,
    RUN_HEADER,
)
from cowshed.wire.operations import OPERATIONS
from cowshed.wire.requests import Request, request

P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K")

_MET: dict[Endpoint, DaemonInfo] = {}
"""Who answered this process last at a Unix socket: as a rule still the one, which its next answer tells."""
_HELLO_SECONDS = 30.0
"""How long a daemon may take to say who it is. What it is asked to do may take any time."""


class Calls:
    """One client of a daemon. Any thread may call; a forked process may not (Forked)."""

    def __init__(self, http: Http) -> None:
        self.endpoint = http.endpoint
        self.client = f"client.{int.from_bytes(os.urandom(5))}"
        """Who this is in locks and among watchers."""
        self.home = Home()
        self.closed = False
        self._run = ""
        """Of the daemon that was greeted first."""
        self._info: DaemonInfo | None = None
        self._unsure = False
        """Whether it is only taken for granted that it is still there."""
        self._http = http
        self._headers = {
            PROTOCOL_HEADER: str(PROTOCOL),
            CLIENT_HEADER: self.client,
            ADDRESS_HEADER: f"{ascii(os.uname().nodename)[1:-1]}:0/{os.getpid()}",
        }

    def close(self) -> None:
        """Let go: later calls raise Closed. A fork lets its parent's connections be."""
        self.closed = True
        if self.home.is_here:
            self._http.close()

    def meet(self) -> None:
        """Learn who answers: from itself, or, where it is known already, from its next answer.

        Raises as `greet`.
        """
        # By TCP it may be anyone, and whether the token still holds is to be known now.
        known = _MET.get(self.endpoint) if isinstance(self.endpoint, UnixEndpoint) else None
        if known is None:
            self.greet()
        else:
            self._info, self._run, self._unsure = known, known.run, True

    @property
    def info(self) -> DaemonInfo:
        """Who answers, and where it listens. Raises as `greet`."""
        return self.greet() if self._info is None or self._unsure else self._info

    @property
    def last_known(self) -> DaemonInfo:
        """As `info`; but where it is only taken for granted that it is still there, that is not looked at."""
        return self._info or self.greet()

    def greet(self) -> DaemonInfo:
        """Who answers. Raises UnsupportedTarget where it speaks another protocol, or IOFailure."""
        self._unsure = False
        answer = self._send(Request("GET", f"{API}/daemon", None), {}, timeout=_HELLO_SECONDS)
        info: DaemonInfo = records.decode(DaemonInfo, _json(answer))
        self._run = self._run or info.run
        if self._run == info.run:
            self._info = _MET[self.endpoint] = info
        return info

    def _recognise(self, run: str | None) -> None:
        """Whether the daemon that was taken for granted answers; else get to know the one that does."""
        self._unsure = False
        if run != self._run:
            self._run = ""
            self.greet()

    def call(self, method: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a method of `Store` on the daemon's store."""
        return self.run(None, method, *args, **kwargs)

    def run(
        self,
        progress: Progress | None,
        method: Callable[Concatenate[Any, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """The same for long work. With `progress` it is followed, and stopped by what that raises."""
        operation = OPERATIONS[method.__name__]
        names = method.__code__.co_varnames[1 : 1 + len(args)]
        given = {**dict(zip(names, args, strict=True)), **kwargs}
        headers = {}
        if operation.changes:
            headers[IDEMPOTENCY_HEADER] = os.urandom(16).hex()
        if progress is not None:
            headers[PREFER_HEADER] = f"{RESPOND_ASYNC}, {ATTENDED}"
        answer = self._ask(_encoded(lambda: request(operation, given)), headers)
        if answer.status == 202 and progress is not None:
            result = self._followed(answer.headers["Location"], progress)
        else:
            result = _json(answer)
        value: R = records.decode(records.result_type(operation.name), result)
        return value

    def ask(
        self,
        kind: type[K],
        method: str,
        path: str,
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> K:
        """Ask for something that is no method of `Store`; the answer is a record of `kind`."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        sent = _encoded(
            lambda: Request(
                method,
                f"{path}?{urlencode(given)}" if given else path,
                None if body is None else json.dumps(body).encode(),
            )
        )
        value: K = records.decode(kind, _json(self._ask(sent, {})))
        return value

    def _ask(self, sent: Request, headers: dict[str, str]) -> Answer:
        """A question, asked again where the connection broke and asking twice does no harm."""
        try:
            return self._send(sent, headers)
        except IOFailure as error:
            keyed = IDEMPOTENCY_HEADER in headers
            if not keyed or not isinstance(error.__cause__, ConnectionError) or not self._is_the_same_run():
                raise
        # The daemon knows by the key whether it has done it.
        return self._send(sent, headers)

    def _is_the_same_run(self) -> bool:
        """Whether the daemon is the one that was greeted; another knows nothing of what that was asked."""
        try:
            return self.greet().run == self._run
        except CowshedError:
            return False

    def _send(self, sent: Request, headers: dict[str, str], timeout: float | None = None) -> Answer:
        if self.closed:
            raise Closed(f"the store {self.endpoint.target!r} was closed")
        self.home.check(f"the store {self.endpoint.target!r}")
        answer = self._http.ask(
            *sent, {**self._headers, **headers}, repeatable=sent.method == "GET", timeout=timeout
        )
        spoken = answer.headers[PROTOCOL_HEADER]
        if spoken is None:
            raise IOFailure(f"what answers as {self.endpoint} is no daemon of cowshed")
        if spoken != str(PROTOCOL):
            raise UnsupportedTarget(
                f"{self.endpoint} speaks protocol {spoken}, and this cowshed speaks {PROTOCOL}",
                hint="use the same cowshed on both sides; after an update, start the daemon anew",
            )
        if self._unsure:
            self._recognise(answer.headers[RUN_HEADER])
        if answer.status >= 400:
            found = _json(answer)
            raise errors.decode(found.get("error") if isinstance(found, dict) else found)
        return answer

    def _followed(self, path: str, progress: Progress) -> Any:
        return follow(
            lambda seen, wait: self.ask(TaskInfo, "GET", path, query={"seen": seen, "wait": wait}),
            lambda: self.ask(TaskInfo, "DELETE", path),
            progress,
        )


def _json(answer: Answer) -> Any:
    try:
        return json.loads(answer.body) if answer.body else None
    except ValueError:
        raise IOFailure(f"the daemon answered {answer.status} with what is no JSON") from None


def _encoded(make: Callable[[], Request]) -> Request:
    try:
        return make()
    except UnicodeEncodeError as error:
        raise InvalidArgument(f"{error.object!r} is not valid UTF-8") from None
