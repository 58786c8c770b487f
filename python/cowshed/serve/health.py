"""Whether the daemon is alive, and whether it takes work: for load balancers, service managers and people."""

from __future__ import annotations

import threading
from collections.abc import Callable

from cowshed.errors import CowshedError


class Health:
    """Ready: the store is open and sound enough to go on, and the daemon is not about to end."""

    def __init__(self, probe: Callable[[], object]) -> None:
        """`probe` does something cheap with the store, which raises if the store refuses work."""
        self._probe = probe
        self._draining = threading.Event()
        self._started = threading.Event()

    def started(self) -> None:
        """All sockets answer."""
        self._started.set()

    def drain(self) -> None:
        """From now on the daemon is on its way out."""
        self._draining.set()

    @property
    def draining(self) -> bool:
        """Whether it is on its way out."""
        return self._draining.is_set()

    def trouble(self) -> str | None:
        """Why the daemon takes no work; None if it does. May wait for the store: not for the event loop."""
        if self._draining.is_set():
            return "the daemon is about to end"
        if not self._started.is_set():
            return "the daemon is starting"
        try:
            self._probe()
        except CowshedError as error:
            return str(error)
        return None
