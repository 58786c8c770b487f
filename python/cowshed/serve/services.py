"""What serves a store, whatever the way in: one of each for all listeners of a daemon."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress

from cowshed import __version__
from cowshed.errors import CowshedError
from cowshed.local.store import LocalStore
from cowshed.serve.events import Events
from cowshed.serve.handles import Handles
from cowshed.serve.idempotency import Idempotency
from cowshed.serve.tasks import Tasks
from cowshed.wire.answers import DaemonInfo
from cowshed.wire.http import PROTOCOL

_SWEEP_SECONDS = 1.0

log = logging.getLogger("cowshed.serve")


def _report(error: BaseException) -> None:
    log.error("a task met an error that it did not expect", exc_info=error)


class Services:
    """The store, and what the daemon keeps beside it in memory.

    `nbd` says where the NBD server listens, as `unix:PATH` and `tcp:HOST:PORT`; `api` where the API does over
    TCP; `certificate` the fingerprint that clients see there, in hexadecimal.
    """

    def __init__(
        self,
        store: LocalStore,
        *,
        nbd: Callable[[], tuple[str, ...]] = tuple,
        api: Callable[[], tuple[str, ...]] = tuple,
        certificate: Callable[[], str | None] = lambda: None,
        events: Events | None = None,
        handles: Handles | None = None,
    ) -> None:
        self.store = store
        self.run = os.urandom(8).hex()
        """Tells this one apart from the daemons before and after it."""
        self.nbd = nbd
        self._api = api
        self._certificate = certificate
        self.events = events or Events()
        self.handles = handles or Handles()
        self.tasks = Tasks(report=_report)
        self.idempotency = Idempotency()
        self._stopped = threading.Event()
        threading.Thread(target=self._sweep, name="handles", daemon=True).start()

    def _sweep(self) -> None:
        while not self._stopped.wait(_SWEEP_SECONDS):
            try:
                self.handles.sweep()
            except Exception as error:
                log.error("an idle handle could not be closed", exc_info=error)

    def info(self) -> DaemonInfo:
        """Who answers."""
        return DaemonInfo(
            protocol=PROTOCOL,
            version=__version__,
            target=self.store.target,
            pid=os.getpid(),
            run=self.run,
            nbd=self.nbd(),
            api=self._api(),
            certificate=self._certificate(),
            store_id=self._store_id(),
        )

    def _store_id(self) -> str | None:
        """None for a store that has none yet, and no room for one."""
        with suppress(CowshedError):
            return self.store.facts().id
        return None

    def stop(self, seconds: float) -> bool:
        """Before the listeners go: end event streams, cancel tasks and wait for them, end handles.

        False if a task still runs. The store stays open.
        """
        self._stopped.set()
        self.events.close()
        ended = self.tasks.stop("the daemon is stopping", seconds)
        self.handles.close()
        return ended
