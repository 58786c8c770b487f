"""A caller's progress function as librbd treats one, for a store."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping

from cowshed.compat.rbd.errors import OSError
from cowshed.compat.rbd.translating import OF_IMAGES, make_error
from cowshed.store import Progress

OnProgress = Callable[[int, int], object]
"""Called with what is done and what there is; a negative number for an answer stops the work."""


def following(
    on_progress: OnProgress | None,
    message: str,
    table: Mapping[int, type[OSError]] = OF_IMAGES,
) -> Progress | None:
    """What a store is to call. What the function raises is shown and changes nothing, as with librbd.

    When it answers with a negative errno, the work ends with that, under `message`. Where the store does not
    know the whole yet, it is told as more than what is done: librbd's users take it for a whole.
    """
    if on_progress is None:
        return None

    def told(done: int, total: int, /) -> None:
        try:
            answer = on_progress(done, total or done + 1)
        except Exception:
            traceback.print_exc()
            return
        if isinstance(answer, int) and answer < 0:
            raise make_error(answer, message, table)

    return told
