"""Long work on the daemon's side, followed from here: progress comes, and an end can be asked for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cowshed.errors import CowshedError, IOFailure, NotFound
from cowshed.store.progress import Progress
from cowshed.wire import errors
from cowshed.wire.answers import TaskInfo

_POLL_SECONDS = 20
"""How long one question after a task may stay without an answer."""


def follow(look: Callable[[int, int], TaskInfo], cancel: Callable[[], object], progress: Progress) -> Any:
    """Tell how far a task is until it ends; its result, or its error raised.

    `look(seen, seconds)` asks for the task's state, and waits for one that is newer than `seen`. Where
    `progress` raises (or Ctrl-C comes) the task is cancelled, and its end awaited, before that goes on.
    """
    try:
        task = _told(look, progress)
    except BaseException:
        with suppress(CowshedError):
            cancel()
            _told(look, lambda *_: None)
        raise
    if task.state == "done":
        return task.result
    raise errors.decode(task.error)


def _told(look: Callable[[int, int], TaskInfo], progress: Progress) -> TaskInfo:
    """The task when it has ended."""
    seen, told = 0, None
    while True:
        try:
            task = look(seen, _POLL_SECONDS)
        except NotFound:
            raise IOFailure(
                "the daemon knows nothing of this work any more: it was started anew, or has too much to do",
                hint="how far it came is not known, so look first",
            ) from None
        seen = task.changes
        if (task.done, task.total) not in (told, (0, 0)):
            told = task.done, task.total
            progress(*told)
        if task.state != "running":
            return task
