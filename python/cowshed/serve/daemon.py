"""`cowshed serve`: one process that owns a store and serves it, from its start to its end.

The order matters. Starting: own the store, make the sockets (so only the owner of the lock touches them),
serve, say that it is ready. Ending: say that it is not ready, let work in flight end, take the sockets away,
flush and let the store go. Whoever finds no socket then finds the lock, and waits.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

from cowshed import __version__
from cowshed._kernel import Kernel
from cowshed.errors import CowshedError, IOFailure
from cowshed.local.boundary import kernel_errors
from cowshed.local.store import LocalStore
from cowshed.serve import logs
from cowshed.serve.api import ApiServer
from cowshed.serve.app import make_app, make_application
from cowshed.serve.certificate import fingerprint, own_certificate
from cowshed.serve.entrance import Entrance, TokenHolders
from cowshed.serve.exports import Exports
from cowshed.serve.health import Health
from cowshed.serve.listeners import PASSED, Listeners
from cowshed.serve.metrics import Metrics, Sources
from cowshed.serve.nbd import Nbd
from cowshed.serve.ownership import own
from cowshed.serve.principal import OWNER, trusting
from cowshed.serve.probes import probes
from cowshed.serve.services import Services
from cowshed.serve.settings import Settings
from cowshed.serve.systemd import Notifier, passed_sockets
from cowshed.serve.tokens import Tokens

_STATUS_SECONDS: Final = 10.0
"""How often the service manager gets a new line about what goes on."""
_CANCEL_SECONDS: Final = 5.0
"""How long cancelled tasks, and the last answers, may take to end."""
_LAST_SECONDS: Final = 60.0
"""What the last flush may take, as told to the service manager."""


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
    _allow_descriptors()
    logs.configure(settings.log_format, settings.log_level)
    notifier = Notifier(environment)
    passed = passed_sockets(environment, PASSED)
    notifier.status("opening the store")
    began = time.monotonic()
    kernel, store = own(settings, create=create, wait_seconds=wait_seconds)
    opened = time.monotonic() - began
    with ExitStack() as ending:
        ending.callback(_close, kernel, store)
        settings = _certified(settings, passed)
        listeners = ending.enter_context(Listeners(settings, passed))
        daemon = Daemon(settings, kernel, store, listeners, notifier)
        ending.callback(daemon.close)
        logs.event(
            "daemon.opened",
            "the store is open",
            store=settings.store,
            version=__version__,
            pid=os.getpid(),
            seconds=round(opened, 3),
        )
        asyncio.run(daemon.live())


def _certified(settings: Settings, passed: Mapping[str, Sequence[socket.socket]]) -> Settings:
    """The settings with a certificate, where TCP needs one. Raises what `own_certificate` raises."""
    tcp = [one for group in passed.values() for one in group if one.family != socket.AF_UNIX]
    if not settings.lacks_certificate or not (settings.listen or settings.nbd_listen or tcp):
        return settings
    hosts = [each.host for each in (settings.listen, settings.nbd_listen) if each]
    certificate, key = own_certificate(settings.store, hosts)
    return replace(settings, tls_cert=certificate, tls_key=key)


def _allow_descriptors() -> None:
    """As many as the system allows: the usual 1024 are kept for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _probe(kernel: Kernel) -> None:
    """Raises IOFailure if a commit has failed, so that nothing more can become durable; else costs little."""
    with kernel_errors:
        kernel.versions(limit=1)


def _close(kernel: Kernel, store: LocalStore) -> None:
    """Flush and let the store go. Raises what kept it from being flushed, now or before."""
    began = time.monotonic()
    try:
        _probe(kernel)
    except CowshedError as error:
        logs.event("daemon.failed", f"the last changes are lost: {error}", level=logging.ERROR)
        store.close()
        raise
    store.close()
    logs.event("daemon.ended", "all is flushed and closed", seconds=round(time.monotonic() - began, 3))


class Daemon:
    """A store that is served, and how its serving begins and ends."""

    def __init__(
        self,
        settings: Settings,
        kernel: Kernel,
        store: LocalStore,
        listeners: Listeners,
        notifier: Notifier,
    ) -> None:
        """Raises InvalidArgument for TLS files that are no good."""
        self._settings = settings
        self._listeners = listeners
        self._notifier = notifier
        self._ending = asyncio.Event()
        self._hurrying = asyncio.Event()
        self._certificate = self._fingerprint()
        self._services = Services(
            store,
            nbd=lambda: listeners.nbd_addresses,
            api=lambda: listeners.api_addresses,
            certificate=lambda: self._certificate,
        )
        exports = Exports(store, self._services.handles)
        self._nbd = Nbd(kernel, exports, settings, listeners)
        self._health = Health(lambda: _probe(kernel))
        metrics = Metrics(
            settings.store,
            Sources(
                usage=store.store_usage,
                space=kernel_errors(kernel.space),
                nbd_statistics=self._nbd.statistics,
                nbd_connections=self._nbd.connections,
                ready=lambda: self._health.trouble() is None,
                tasks=self._tasks_by_state,
                handles=lambda: len(self._services.handles.all()),
            ),
        )
        application = make_application([probes(self._health, metrics)])
        control = make_app(self._services, authorise=trusting, application=application)
        self._apis = [ApiServer(Entrance(control, metrics), listeners.control)]
        if listeners.api:
            holders = TokenHolders(Tokens(settings.store))
            outside = make_app(self._services, authorise=holders, application=application)
            self._apis.append(ApiServer(Entrance(outside, metrics), listeners.api, tls=settings.tls))

    async def live(self) -> None:
        """Serve until a signal, and end in order. Raises IOFailure if a server ended by itself."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_end, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        serving = [asyncio.create_task(api.run()) for api in self._apis]
        asked = asyncio.create_task(self._ending.wait())
        beating = asyncio.create_task(self._beat())
        try:
            self._nbd.start()
            for api in self._apis:
                await _first(asyncio.create_task(api.ready()), *serving)
            self._began()
            await _first(asked, *serving)
            if not self._ending.is_set():
                await asyncio.gather(*(each for each in serving if each.done()))
                raise IOFailure("a server of the API ended by itself", hint="the log says more")
            await self._end(serving)
        finally:
            beating.cancel()
            asked.cancel()

    def close(self) -> None:
        """After `live`, however it ended: nothing of it goes on. Does not raise."""
        self._nbd.stop(0.0)
        self._services.stop(0.0)

    def _fingerprint(self) -> str | None:
        """Of the certificate that clients see. Raises InvalidArgument where the file holds none."""
        return fingerprint(self._settings.tls[0]).hex() if self._settings.tls else None

    # --- life

    def _began(self) -> None:
        self._health.started()
        self._notifier.ready(self._status())
        logs.event(
            "daemon.ready",
            "serving",
            control=",".join(self._listeners.control_addresses),
            nbd=",".join(self._listeners.nbd_addresses),
            api=",".join(self._listeners.api_addresses) or None,
        )

    async def _beat(self) -> None:
        """Keep the service manager informed, and its watchdog quiet as long as this loop turns."""
        if not self._notifier.listening:
            return
        told, patience = time.monotonic(), self._notifier.watchdog_seconds
        while True:
            # Twice within the watchdog's time, as sd_watchdog_enabled(3) advises.
            await asyncio.sleep(min(_STATUS_SECONDS, patience / 2 if patience else _STATUS_SECONDS))
            if patience:
                self._notifier.alive()
            if time.monotonic() - told >= _STATUS_SECONDS and not self._ending.is_set():
                self._notifier.status(self._status())
                told = time.monotonic()

    def _status(self) -> str:
        connections = sum(len(each) for _, each in self._nbd.connections())
        running = len(self._services.tasks.running())
        return f"serving: {connections} NBD connections, {running} tasks"

    def _tasks_by_state(self) -> Counter[str]:
        found = Counter(dict.fromkeys(("running", "done", "failed", "cancelled"), 0))
        found.update(task.info().state for task in self._services.tasks.all(OWNER))
        return found

    # --- signals

    def _asked_to_end(self, name: str) -> None:
        if self._ending.is_set():
            logs.event("daemon.hurrying", f"{name} again: work in flight is cut off", level=logging.WARNING)
            self._hurrying.set()
        else:
            logs.event("daemon.ending", f"{name}: letting work in flight end", seconds=self._settings.drain)
            self._health.drain()
            self._ending.set()

    def _reload(self) -> None:
        """Take what has changed in the TLS files; tokens are looked at with each request anyway."""
        self._notifier.reloading()
        try:
            for reload in (self._nbd.reload_tls, *(api.reload_tls for api in self._apis)):
                reload()
            self._certificate = self._fingerprint()
        except CowshedError as error:
            logs.event("daemon.reload_failed", f"the old TLS files stay: {error}", level=logging.ERROR)
        else:
            read = "the TLS files are read" if self._settings.tls else "there are no TLS files to read"
            logs.event("daemon.reloaded", read)
        self._notifier.ready(self._status())

    # --- the end

    async def _end(self, serving: list[asyncio.Task[None]]) -> None:
        drain = self._settings.drain
        self._notifier.stopping("letting work in flight end")
        self._notifier.extend(drain + 2 * _CANCEL_SECONDS + _LAST_SECONDS)
        # The API goes on as long as tasks do: whoever follows them, or the events, hears how they end.
        await asyncio.gather(self._end_nbd(drain), self._end_tasks(drain))
        for api in self._apis:
            api.stop(_CANCEL_SECONDS)
        await self._unless_hurried(asyncio.gather(*serving))
        for api in self._apis:
            api.hurry()
        await asyncio.gather(*serving)
        self._notifier.stopping("flushing")

    async def _end_nbd(self, drain: float) -> None:
        stopping = asyncio.create_task(asyncio.to_thread(self._nbd.stop, drain))
        await self._unless_hurried(stopping)
        if not stopping.done():
            await asyncio.to_thread(self._nbd.stop, 0.0)
        if not await stopping:
            logs.event("nbd.cut_off", "NBD requests in flight were cut off", level=logging.WARNING)

    async def _end_tasks(self, drain: float) -> None:
        await self._unless_hurried(asyncio.create_task(self._services.tasks.wait_all(drain)))
        for task in self._services.tasks.running():
            logs.event(
                "task.cancelled",
                "a task is cancelled: the daemon ends",
                level=logging.WARNING,
                task=task.id,
                operation=task.subject.operation,
                client=task.subject.client,
                specs=", ".join(task.subject.specs) or None,
            )
        if not await asyncio.to_thread(self._services.stop, _CANCEL_SECONDS):
            logs.event("task.left", "a task did not stop; its work so far stays", level=logging.WARNING)

    async def _unless_hurried(self, work: asyncio.Future[Any]) -> None:
        """Until `work` is done, or a second signal came; `work` goes on then."""
        hurried = asyncio.create_task(self._hurrying.wait())
        await _first(work, hurried)
        hurried.cancel()


async def _first(*works: asyncio.Future[Any]) -> None:
    await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
