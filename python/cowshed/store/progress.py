"""How long work tells how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with the work done and the work there is, in one unit (bytes, or steps) per operation.

    `total` is 0 while it is unknown and may grow; the last call of finished work has `done == total`
    where the total is known. What it raises passes through to the caller of the operation, which stops
    at a safe place: that is how long work is interrupted. Calls come from one thread at a time.
    """

    def __call__(self, done: int, total: int, /) -> None: ...
