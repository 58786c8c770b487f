"""`Completion`: an operation that goes on by itself."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cowshed import native
from cowshed.compat.rbd.errors import Error, InvalidArgument, OSError
from cowshed.process import Home

if TYPE_CHECKING:
    import threading

_THREADS = 16


class _Workers:
    """The threads of this process; a forked one has none of them, and gets its own."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock = native.lock()
        self._workers: native.Workers | None = None

    def submit(self, work: Callable[..., object], *args: object) -> None:
        with self._lock:
            workers = self._workers = self._workers or native.Workers(_THREADS, "rbd-aio")
        workers.submit(work, *args)


_workers = _Workers()


class Completion:
    """Made by the `aio_…` methods. The callback runs in another thread, after the operation is complete."""

    def __init__(self, oncomplete: Callable[..., object] | None) -> None:
        self._home = Home()
        self._oncomplete = oncomplete
        self._complete = native.event()
        self._told = native.event()
        self._value = 0
        self._raised: BaseException | None = None

    @classmethod
    def begun(
        cls,
        work: Callable[[], Any],
        oncomplete: Callable[..., object] | None,
        *,
        with_result: bool = False,
    ) -> Completion:
        """Do the work in a thread, and tell `oncomplete(completion)`, or `oncomplete(completion, result)`."""
        completion = cls(oncomplete)
        _workers.submit(completion._run, work, with_result)
        return completion

    def is_complete(self) -> bool:
        """Whether the operation is over; its callback may not be."""
        return self._complete.is_set()

    def wait_for_complete(self) -> None:
        """Wait until the operation is over. Raises OSError in a forked process, where it never is."""
        self._wait(self._complete)

    def wait_for_complete_and_cb(self) -> None:
        """Wait until the callback is over, too, and raise what it raised."""
        self._wait(self._told)
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def _wait(self, event: threading.Event) -> None:
        if not self._home.is_here:
            raise OSError(
                f"the operation goes on in process {self._home.pid}, which this one was forked from",
                errno=errno.ENOTCONN,
            )
        event.wait()

    def get_return_value(self) -> int:
        """0, or how many bytes were read, or the negative errno."""
        return self._value

    def _run(self, work: Callable[[], Any], with_result: bool) -> None:
        result: Any = None
        try:
            result = work()
            self._value = len(result) if isinstance(result, bytes) else 0
        except Error as error:
            self._value = -_errno(error)
        except BaseException as error:
            self._value = -errno.EIO
            self._raised = error
        self._complete.set()
        try:
            if self._oncomplete is not None:
                self._oncomplete(self, result) if with_result else self._oncomplete(self)
        except BaseException as error:
            self._raised = error
        finally:
            self._told.set()


def _errno(error: Error) -> int:
    if isinstance(error, OSError) and error.errno:
        return error.errno
    return errno.EINVAL if isinstance(error, InvalidArgument) else errno.EIO
