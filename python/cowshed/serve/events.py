"""Events: what was changed through the daemon, for whoever follows."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator

from cowshed.errors import Busy
from cowshed.serve.bell import Bell
from cowshed.serve.principal import Principal
from cowshed.wire.answers import Event
from cowshed.wire.records import encode

KEPT = 10_000
"""How many events can be resumed behind."""
FOLLOWERS = 256
KEEP_ALIVE_SECONDS = 15.0


class Events:
    """A ring of the last events, in memory.

    An id is the run's and a number: one of another run, or one that has left the ring, is told from one
    that can be resumed behind, and answered with a `reset`, after which the follower should look at the
    store anew.
    """

    def __init__(self, *, kept: int = KEPT, keep_alive_seconds: float = KEEP_ALIVE_SECONDS) -> None:
        self.run = os.urandom(4).hex()
        self._keep_alive = keep_alive_seconds
        self._lock = threading.Lock()
        self._bell = Bell()
        self._ring: deque[Event] = deque(maxlen=kept)
        self._last = 0
        self.followers = 0
        self._closed = False

    def tell(
        self,
        operation: str,
        client: str,
        specs: tuple[str, ...],
        pools: tuple[str, ...],
        *,
        partly: bool = False,
    ) -> None:
        """An operation was done, or `partly` done."""
        with self._lock:
            self._last += 1
            made = Event(self._id(self._last), time.time(), operation, client, specs, pools, partly)
            self._ring.append(made)
        self._bell.ring()

    def follow(self, principal: Principal, last_id: str | None) -> AsyncIterator[bytes]:
        """The events that a principal may see, as an event stream: those behind `last_id`, or from now on.

        Raises Busy when too many follow already.
        """
        with self._lock:
            if self.followers >= FOLLOWERS:
                raise Busy(f"{FOLLOWERS} clients follow the events already", hint="stop one")
            seen = self._last
        return self._stream(principal, last_id, seen)

    async def _stream(self, principal: Principal, last_id: str | None, seen: int) -> AsyncIterator[bytes]:
        with self._lock:
            self.followers += 1
        try:
            with self._bell.listen() as ear:
                # A comment at once, so that the follower knows that it is heard from now on.
                yield b": events of run %s\n\n" % self.run.encode()
                if last_id is not None:
                    resumed = self._resumed(last_id)
                    if resumed is None:
                        reset = Event(self._id(seen), time.time(), "reset", "", (), ())
                        yield _message(reset)
                    else:
                        seen = resumed
                while not self._closed:
                    found, missed, seen = self._behind(seen)
                    if missed:
                        yield _message(Event(self._id(missed), time.time(), "reset", "", (), ()))
                    for event in found:
                        if principal.sees(event.pools):
                            yield _message(event)
                    if not found and not await ear.wait(self._keep_alive):
                        yield b": still here\n\n"
        finally:
            with self._lock:
                self.followers -= 1

    def _behind(self, seen: int) -> tuple[list[Event], int, int]:
        """The events behind number `seen`; the last number that is lost, or 0; the last that there is."""
        with self._lock:
            first = self._last - len(self._ring) + 1
            missed = first - 1 if seen < first - 1 else 0
            start = max(seen + 1, first) - first
            return list(itertools.islice(self._ring, start, None)), missed, self._last

    def _resumed(self, last_id: str) -> int | None:
        """The number in an id of this run."""
        run, _, number = last_id.partition("-")
        if run != self.run or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        return int(number) if int(number) <= self._last else None

    def _id(self, number: int) -> str:
        return f"{self.run}-{number}"

    def close(self) -> None:
        """End all streams; nothing is told any more."""
        self._closed = True
        self._bell.ring()


def _message(event: Event) -> bytes:
    data = json.dumps(encode(Event, event))
    return f"id: {event.id}\nevent: {event.operation}\ndata: {data}\n\n".encode()
