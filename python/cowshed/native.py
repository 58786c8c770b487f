"""Threads, locks and events of the operating system, even where eventlet has put its own in their place.

Its `monkey_patch` makes `threading` one of green threads, which belong to the native thread that made them.
Who waits there in one native thread is never woken by another; and calls come from many, for `tpool` makes
some. What is guarded by these locks is short, and switches to no other green thread.
"""

from __future__ import annotations

import atexit
import sys
import weakref
from _queue import SimpleQueue
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cowshed.process import Home

if TYPE_CHECKING:
    import threading

    Job = tuple[Callable[..., object], tuple[object, ...]] | None


def _threading() -> Any:
    """The module as it came with Python."""
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("thread"):
        return patcher.original("threading")
    import threading

    return threading


def lock() -> threading.Lock:
    made: threading.Lock = _threading().Lock()
    return made


def condition() -> threading.Condition:
    made: threading.Condition = _threading().Condition()
    return made


def event() -> threading.Event:
    made: threading.Event = _threading().Event()
    return made


def start(work: Callable[[], object], name: str) -> None:
    """Have `work` done in a thread of its own, which the end of the process does not wait for."""
    _threading().Thread(target=work, name=name, daemon=True).start()


class Workers:
    """Up to `most` threads, which do what they are given in its order. A fork has none of them.

    What a job raises is printed. At the end of the process those that were given are awaited.
    """

    def __init__(self, most: int, name: str) -> None:
        self._home = Home()
        self._most = most
        self._name = name
        # Of C, which eventlet leaves as it is.
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._state = condition()
        self._open = 0
        self._threads = 0
        _all.add(self)

    def submit(self, work: Callable[..., object], *args: object) -> None:
        """Have `work(*args)` done."""
        with self._state:
            self._open += 1
            if self._open > self._threads and self._threads < self._most:
                self._threads += 1
                start(self._run, self._name)
        self._jobs.put((work, args))

    def flush(self) -> None:
        """Return when nothing is left to do."""
        with self._state:
            self._state.wait_for(lambda: not self._open)

    def stop(self) -> None:
        """The threads end when all is done that was submitted; nothing may be any more."""
        with self._state:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _run(self) -> None:
        while job := self._jobs.get():
            work, args = job
            try:
                work(*args)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                with self._state:
                    self._open -= 1
                    self._state.notify_all()
                # Not to be held until the next job comes.
                del work, args, job

    def _end(self) -> None:
        if self._home.is_here:
            self.flush()


_all: weakref.WeakSet[Workers] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    for _ in range(2):  # jobs may give others something to do
        for workers in list(_all):
            workers._end()
