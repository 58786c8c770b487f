"""A gate that many pass together, or one alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cowshed import native
from cowshed.process import Home


class Gate:
    """Changes pass it together; what must see the whole catalogue at rest passes it alone.

    Whoever waits to be alone holds back newcomers, so it cannot starve. Not to be entered twice by one
    thread. Raises Forked in a process that was forked from its own.
    """

    def __init__(self) -> None:
        self._home = Home()
        self._state = native.condition()
        self._inside = 0
        self._alone = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        self._home.check("the store")
        with self._state:
            self._state.wait_for(lambda: not self._alone)
            self._inside += 1
        try:
            yield
        finally:
            with self._state:
                self._inside -= 1
                self._state.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        self._home.check("the store")
        with self._state:
            self._alone += 1
            try:
                self._state.wait_for(lambda: self._inside == 0)
                self._inside = 1
            except BaseException:
                self._alone -= 1
                self._state.notify_all()
                raise
        try:
            yield
        finally:
            with self._state:
                self._alone -= 1
                self._inside = 0
                self._state.notify_all()
