"""Which process something belongs to.

A forked process has all that its parent has in memory: its connections, its open store, and locks that a
thread of the parent's may hold, which nobody here will ever let go. So whatever is open says who opened it,
and is of no use to anyone else; letting go of it in a fork leaves the parent's alone.
"""

from __future__ import annotations

import os

from cowshed.errors import Forked


class Home:
    """The process in which it is made."""

    __slots__ = ("pid",)

    def __init__(self) -> None:
        self.pid = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is that process, and no fork of it."""
        return os.getpid() == self.pid

    def check(self, what: object) -> None:
        """Raises Forked in any other process. To be asked before any lock is taken."""
        if not self.is_here:
            raise Forked(
                f"{what} was opened by process {self.pid}, of which this one, {os.getpid()}, is a fork",
                hint="open it anew here",
            )
