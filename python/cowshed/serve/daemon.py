"""`cowshed serve`: one process that owns a store and serves it, from its start to its end.

The order matters. Starting: own the store, make the sockets (so only the owner of the lock touches them),
serve, say that it is ready. Ending: say that it is not ready, accept nothing more, let work in flight end,
take the sockets away, flush and let the store go. Whoever finds no socket then finds the lock, and waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Awaitable, MutableMapping
from contextlib import ExitStack
from typing import Final

from cowshed import __version__
from cowshed._kernel import Kernel, NbdServer, ServerTls
from cowshed.errors import CowshedError
from cowshed.local.boundary import kernel_errors
from cowshed.local.store import LocalStore
from cowshed.serve import logs
from cowshed.serve.api import ApiServer
from cowshed.serve.entrance import Authority, Entrance
from cowshed.serve.health import Health
from cowshed.serve.listeners import PASSED, Listeners, shown
from cowshed.serve.metrics import Metrics, Sources
from cowshed.serve.nbd import GuardedExports
from cowshed.serve.ownership import own
from cowshed.serve.settings import Settings
from cowshed.serve.systemd import Notifier, passed_sockets
from cowshed.serve.tokens import Tokens

_STATUS_SECONDS: Final = 10.0
"""How often the service manager gets a new line about what goes on."""
_LAST_SECONDS: Final = 60.0
"""What the last flush may take after the drain, as told to the service manager."""


def run(
    settings: Settings,
    *,
    create: bool = False,
    wait_seconds: float = 0.0,
    environment: MutableMapping[str, str] | None = None,
) -> None:
    """Serve the store until a signal ends it; returns when all is flushed and closed.

    `create` makes the store where there is none; `wait_seconds` is how long to wait for a command that has
    it. Raises StoreLocked, InvalidArgument, and whatever opening and closing raise.
    """
    environment = os.environ if environment is None else environment
    logs.configure(settings.log_format, settings.log_level)
    notifier = Notifier(environment)
    passed = passed_sockets(environment, PASSED)
    began = time.monotonic()
    notifier.status("opening the store")
    kernel, store = own(settings, create=create, wait_seconds=wait_seconds)
    with ExitStack() as ending:
        ending.callback(_close, store)
        listeners = ending.enter_context(Listeners(settings, passed))
        daemon = Daemon(settings, kernel, store, listeners, notifier)
        ending.callback(daemon.close)
        asyncio.run(daemon.live(began))


def _close(store: LocalStore) -> None:
    began = time.monotonic()
    store.close()
    logs.event("daemon.ended", "all is flushed and closed", seconds=round(time.monotonic() - began, 3))


class Daemon:
    """A store that is served, and its life. For use within one event loop."""

    def __init__(
        self,
        settings: Settings,
        kernel: Kernel,
        store: LocalStore,
        listeners: Listeners,
        notifier: Notifier,
    ) -> None:
        self._settings = settings
        self._listeners = listeners
        self._notifier = notifier
        self._ending = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._health = Health(store.pools)
        addresses = tuple(map(shown, (*listeners.nbd, *listeners.nbd_tcp)))
        self._nbd_tls = _nbd_tls(settings) if listeners.nbd_tcp else None
        # The service behind the API; its parts are asked here for what goes on.
        ...


def _nbd_tls(settings: Settings) -> ServerTls | None:
    if settings.tls is None:
        return None
    with kernel_errors:
        return ServerTls(*settings.tls, client_ca=settings.tls_client_ca)
