"""Images that stay open without a use: they get their connection in time, so that their handle stays.

Most images that drivers open are not read or written at all: they are resized, or get a snapshot. So an image
connects to its disk when that is first used. But a daemon ends a handle that has no connection for a while
(`Handles`), as its client may have died; this process's thread connects those that are open for longer than
`KEEP_SECONDS`.
"""

from __future__ import annotations

import os
import time
import weakref
from typing import Protocol

from cowshed import native

KEEP_SECONDS = 10.0
"""Well below the time after which a daemon ends a handle that had no connection yet."""


class Kept(Protocol):
    """An open image."""

    def keep(self) -> None:
        """Connect it, if it is still open and not connected. Does not raise."""


class Keeper:
    """Keeps what it is given. The thread is there only while it has something to wait for."""

    def __init__(self, seconds: float = KEEP_SECONDS) -> None:
        self._seconds = seconds
        self._begin()

    def _begin(self) -> None:
        self._state = native.condition()
        # In the order of their time, which is that of their coming.
        self._waiting: dict[int, tuple[float, weakref.ref[Kept]]] = {}
        self._runs = False

    def forget_all(self) -> None:
        """In a fork: what was open is the parent's, and there is no thread."""
        self._begin()

    def add(self, image: Kept) -> None:
        """It was opened, and is not connected yet."""
        with self._state:
            self._waiting[id(image)] = time.monotonic() + self._seconds, weakref.ref(image)
            if not self._runs:
                self._runs = True
                native.start(self._run, "cowshed-keep")

    def remove(self, image: Kept) -> None:
        """It is connected now, or closed."""
        with self._state:
            self._waiting.pop(id(image), None)

    def _run(self) -> None:
        while True:
            with self._state:
                if not self._waiting:
                    self._runs = False
                    return
                number, (due, found) = next(iter(self._waiting.items()))
                if (left := due - time.monotonic()) > 0:
                    self._state.wait(left)
                    continue
                del self._waiting[number]
            if image := found():
                image.keep()
                del image


keeper = Keeper()
"""Of this process."""
os.register_at_fork(after_in_child=keeper.forget_all)
