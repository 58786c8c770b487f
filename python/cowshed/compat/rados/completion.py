"""Asynchronous calls: `Completion`, and who does them.

Calls of one Ioctx are done one after the other in a thread of their own, callbacks in another: a callback may
wait for a later call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from cowshed.compat.rados.errors import Error, RadosStateError
from cowshed.process import Home

if TYPE_CHECKING:
    from cowshed.compat.rados.ioctx import Ioctx

_EIO = 5


class Completion:
    """One asynchronous call. What is safe here is also durable: `safe` and `complete` are the same."""

    def __init__(
        self,
        ioctx: Ioctx,
        oncomplete: Callable[[Completion], object] | None = None,
        onsafe: Callable[[Completion], object] | None = None,
    ) -> None:
        self._home = Home()
        self.ioctx = ioctx
        self.oncomplete = oncomplete
        self.onsafe = onsafe
        self._done = threading.Event()
        self._told: Future[None] | None = None
        self._result = 0
        self._lock = threading.Lock()

    def is_complete(self) -> bool:
        """Whether the call is done."""
        return self._done.is_set()

    is_safe = is_complete

    def wait_for_complete(self) -> None:
        """Return when the call is done. Raises RadosStateError in a forked process, where it never is."""
        if not self._home.is_here:
            raise RadosStateError(f"process {self._home.pid} does this call, and this is a fork of it")
        self._done.wait()

    wait_for_safe = wait_for_complete

    def wait_for_complete_and_cb(self) -> int:
        """Return when the call is done and its callbacks have returned. What they raised is raised here."""
        self.wait_for_complete()
        with self._lock:
            told = self._told
        if told is not None:
            told.result()
        return 0

    wait_for_safe_and_cb = wait_for_complete_and_cb

    def get_return_value(self) -> int:
        """What the call answered: 0 or a number of bytes; `-errno` if it failed."""
        return self._result

    def finish(self, result: int, callbacks: ThreadPoolExecutor) -> None:
        """The call is done."""
        with self._lock:
            self._result = result
            if self.oncomplete or self.onsafe:
                self._told = callbacks.submit(self._tell)
            self._done.set()

    def _tell(self) -> None:
        for callback in (self.oncomplete, self.onsafe):
            if callback:
                callback(self)


class Worker:
    """The two threads of an Ioctx, made when first needed."""

    def __init__(self) -> None:
        self._calls = ThreadPoolExecutor(1, "rados-aio")
        self._callbacks = ThreadPoolExecutor(1, "rados-callback")

    def submit(self, completion: Completion, call: Callable[[], int]) -> Completion:
        """Do a call that answers a number, or raises this module's errors."""

        def run() -> None:
            try:
                result = call()
            except Error as error:
                result = -(error.errno or _EIO)
            except BaseException:
                completion.finish(-_EIO, self._callbacks)
                raise
            completion.finish(result, self._callbacks)

        self._calls.submit(run)
        return completion

    def flush(self) -> None:
        """Return when all calls that were submitted are done."""
        self._calls.submit(lambda: None).result()

    def stop(self) -> None:
        """Let what was submitted end, and the threads with it."""
        self._calls.shutdown(wait=False)
        # The callbacks' thread ends after the last call has handed its own over.
        threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        self._calls.shutdown(wait=True)
        self._callbacks.shutdown(wait=False)
