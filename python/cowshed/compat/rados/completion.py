"""Asynchronous calls: `Completion`, and who does them.

Calls of one Ioctx are done one after the other in a thread of their own, callbacks in another: a callback may
wait for a later call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cowshed import native
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
        self._done = native.event()
        self._told = native.event()
        self._raised: BaseException | None = None
        self._result = 0

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
        self._told.wait()
        if self._raised is not None:
            raise self._raised
        return 0

    wait_for_safe_and_cb = wait_for_complete_and_cb

    def get_return_value(self) -> int:
        """What the call answered: 0 or a number of bytes; `-errno` if it failed."""
        return self._result

    def finish(self, result: int, callbacks: native.Workers) -> None:
        """The call is done."""
        self._result = result
        if self.oncomplete or self.onsafe:
            callbacks.submit(self._tell)
        else:
            self._told.set()
        self._done.set()

    def _tell(self) -> None:
        try:
            for callback in (self.oncomplete, self.onsafe):
                if callback:
                    callback(self)
        except BaseException as error:
            self._raised = error
        finally:
            self._told.set()


class Worker:
    """The two threads of an Ioctx, made when first needed."""

    def __init__(self) -> None:
        self._calls = native.Workers(1, "rados-aio")
        self._callbacks = native.Workers(1, "rados-callback")

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
        self._calls.flush()

    def stop(self) -> None:
        """After `flush`: the threads end when the callbacks have returned."""
        self._calls.stop()
        self._callbacks.stop()
