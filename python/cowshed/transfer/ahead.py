"""Reading and writing at the same time: an iterator run in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")

DEPTH = 4
"""Items that exist at once: one being made, one being used, the rest waiting."""


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """Yield what `items` yields, made up to DEPTH - 1 items ahead in another thread.

    An item may be used until the next is asked for: so a maker with DEPTH buffers can use them in turn.
    What the maker raises is raised here. When this generator is closed early, the maker stops at its next
    item, and that is waited for: so it must not be one that may block for ever, on a pipe.
    """
    room = threading.Semaphore(DEPTH)
    made: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
    stopped = False

    def make() -> None:
        try:
            room.acquire()
            for item in items:
                made.put((item,))
                room.acquire()
                if stopped:
                    return
            made.put(None)
        except BaseException as error:
            made.put(error)

    maker = threading.Thread(target=make, name="cowshed-ahead", daemon=True)
    maker.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
            del item
            room.release()
    finally:
        stopped = True
        room.release()
        maker.join()
