"""Waking coroutines from any thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Bell:
    """Rung from any thread, heard by every coroutine that listens then.

    Listen first and look at the state afterwards: a ring in between is heard.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ears: set[Ear] = set()

    def ring(self) -> None:
        """Something has changed."""
        if not self._ears:
            return
        with self._lock:
            ears = list(self._ears)
        for ear in ears:
            ear.wake()

    @contextmanager
    def listen(self) -> Iterator[Ear]:
        """For a coroutine: hears every ring from now on to the end of the block."""
        ear = Ear(asyncio.get_running_loop())
        with self._lock:
            self._ears.add(ear)
        try:
            yield ear
        finally:
            with self._lock:
                self._ears.discard(ear)


class Ear:
    """One that listens."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = asyncio.Event()

    def wake(self) -> None:
        # A loop that is closed has no one who waits.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, seconds: float) -> bool:
        """Until the next ring that was not waited for yet; False after `seconds` without one."""
        try:
            await asyncio.wait_for(self._rung.wait(), seconds)
        except TimeoutError:
            return False
        self._rung.clear()
        return True
