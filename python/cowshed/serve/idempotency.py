"""Changes that are asked for twice and done once: the meaning of `Idempotency-Key`."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from cowshed.errors import InvalidArgument
from cowshed.wire.http import TEXT_PATTERN

KEPT_SECONDS = 24 * 3600.0
KEPT = 10_000
KEPT_BYTES = 32 << 20


class Answer(NamedTuple):
    """What is sent, and sent again; `body` is JSON, or None for none."""

    status: int
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


class OtherRequest(Exception):
    """The key came with another request before."""


@dataclass(slots=True)
class _Entry:
    request: Hashable
    at: float
    over: threading.Event = field(default_factory=threading.Event)
    answer: Answer | None = None


class Idempotency:
    """The answers of the last changes that came with a key, by who asked and the key."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str], _Entry] = {}
        self._bytes = 0

    def once(self, who: str, key: str, request: Hashable, run: Callable[[], Answer]) -> Answer:
        """The answer of `run`, or of the same request that came with this key before.

        One that comes while the first is at work waits for its answer. An answer of 500 and more, or an
        exception, is not kept: the next one tries anew. Raises OtherRequest, InvalidArgument for a bad key.
        """
        if not re.search(TEXT_PATTERN, key):
            raise InvalidArgument("an idempotency key has 1 to 255 characters of ASCII")
        place = who, key
        while True:
            with self._lock:
                self._forget(KEPT + 1)
                entry = self._entries.get(place)
                if entry is None:
                    self._forget(KEPT)
                    entry = self._entries[place] = _Entry(request, self._clock())
                    break
            if entry.request != request:
                raise OtherRequest
            entry.over.wait()
            if entry.answer is not None:
                return entry.answer
        try:
            answer = run()
        except BaseException:
            self._settle(place, entry, None)
            raise
        self._settle(place, entry, answer if answer.status < 500 else None)
        return answer

    def _settle(self, place: tuple[str, str], entry: _Entry, answer: Answer | None) -> None:
        with self._lock:
            entry.answer = answer
            if answer is None:
                del self._entries[place]
            else:
                self._bytes += len(answer.body or b"")
        entry.over.set()

    def _forget(self, most: int) -> None:
        """Let go what is too old, and the oldest until fewer than `most` are left; what is at work stays."""
        before = self._clock() - KEPT_SECONDS
        count, size, gone = len(self._entries), self._bytes, []
        for place, entry in self._entries.items():
            if entry.answer is None:
                continue
            if count < most and size <= KEPT_BYTES and entry.at >= before:
                break
            count, size = count - 1, size - len(entry.answer.body or b"")
            gone.append(place)
        for place in gone:
            del self._entries[place]
        self._bytes = size
