"""NBD as the operator set it up: which doors there are, who may name images where, who came and went."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cowshed._kernel import Kernel, NbdConnection, NbdServer, NbdStatistics, ServerTls
from cowshed.local.boundary import kernel_errors
from cowshed.serve import logs
from cowshed.serve.listeners import Listeners
from cowshed.serve.settings import Settings
from cowshed.wire.http import HANDLE_EXPORTS

if TYPE_CHECKING:
    from cowshed._kernel import NbdExport, NbdExports


class WatchedExports:
    """The exports of a store as one door shows them, with a log of who uses them.

    NBD has no passwords. Whoever reaches a Unix socket was let in by the file system; whoever shows a
    certificate was let in by TLS. Where neither says who it is, only handles are served, whose names are
    secrets, and nothing is listed.
    """

    def __init__(self, inner: NbdExports, *, named: bool, listed: bool) -> None:
        self._inner = inner
        self._named = named
        self._listed = listed and named
        self._lock = threading.Lock()
        self._open: dict[int, tuple[str, float]] = {}

    def open(self, name: str, peer: str) -> NbdExport:
        """As the exports do. Raises PermissionError for an image's name where only handles are served."""
        try:
            if not self._named and not name.startswith(HANDLE_EXPORTS):
                raise PermissionError("images are not served by their names here (see --tls-client-ca)")
            export = self._inner.open(name, peer)
        except (LookupError, PermissionError) as error:
            words = "an NBD client was refused"
            why = error.args[0] if error.args else ""
            logs.event("nbd.refused", words, level=logging.WARNING, export=name, peer=peer, why=why)
            raise
        except Exception as error:
            logs.event(
                "nbd.failed", "an export cannot be opened", level=logging.ERROR, error=error, export=name
            )
            raise
        with self._lock:
            self._open[id(export)] = (peer, time.monotonic())
        logs.event(
            "nbd.connected",
            "an NBD client opened an export",
            export=export.label,
            peer=peer,
            handle=name.startswith(HANDLE_EXPORTS),
            read_only=export.read_only,
        )
        return export

    def close(self, export: NbdExport, fault: str | None = None) -> None:
        """As the exports do. `fault` says what the client did wrong, if that ended it."""
        try:
            self._inner.close(export, fault)
        finally:
            with self._lock:
                peer, since = self._open.pop(id(export), ("", time.monotonic()))
            logs.event(
                "nbd.disconnected",
                "an NBD connection is over",
                level=logging.WARNING if fault else logging.INFO,
                export=export.label,
                peer=peer,
                seconds=round(time.monotonic() - since, 3),
                fault=fault,
            )

    def names(self) -> list[tuple[str, str]]:
        """As the exports do; none where they are not to be listed."""
        return self._inner.names() if self._listed else []

    def snapshots(self, export: NbdExport) -> list[str]:
        """As the exports do."""
        return self._inner.snapshots(export)

    def snapshot_version(self, export: NbdExport, name: str) -> int:
        """As the exports do."""
        return self._inner.snapshot_version(export, name)


class Nbd:
    """The NBD servers of a daemon: one for its Unix sockets, one for TCP where that is served."""

    def __init__(self, kernel: Kernel, exports: NbdExports, settings: Settings, listeners: Listeners) -> None:
        """Does not accept yet. Raises InvalidArgument for TLS files that are no good."""
        self._listeners = listeners
        self._tls: ServerTls | None = None
        listed = not settings.nbd_hidden
        self._unix = NbdServer(kernel, WatchedExports(exports, named=True, listed=listed))
        self._tcp: NbdServer | None = None
        if listeners.nbd_tcp:
            if settings.tls:
                with kernel_errors:
                    self._tls = ServerTls(*settings.tls, client_ca=settings.tls_client_ca)
            named = settings.named_exports_over_tcp
            self._tcp = NbdServer(kernel, WatchedExports(exports, named=named, listed=listed))

    def start(self) -> None:
        """Accept connections at the listeners, which are the servers' from now on. Raises IOFailure."""
        with kernel_errors:
            # None is kept here: a stop closes them for good, and no one waits at them in vain.
            for one in self._listeners.nbd:
                self._unix.listen_fd(one.detach())
            for one in self._listeners.nbd_tcp:
                assert self._tcp is not None
                self._tcp.listen_fd(one.detach(), tls=self._tls, require_tls=self._tls is not None)

    def reload_tls(self) -> None:
        """Read the TLS files again, for new connections. Raises InvalidArgument, and keeps the old ones."""
        if self._tls is not None:
            with kernel_errors:
                self._tls.reload()

    def statistics(self) -> list[tuple[str, Sequence[NbdStatistics]]]:
        """What was done, by way in: `unix` or `tcp`."""
        return [(way, server.statistics()) for way, server in self._servers()]

    def connections(self) -> list[tuple[str, Sequence[NbdConnection]]]:
        """Who is connected, by way in."""
        return [(way, server.connections()) for way, server in self._servers()]

    def stop(self, drain_seconds: float) -> bool:
        """Accept nothing more, and let what is in flight end; False if something had to be cut off.

        May be called again meanwhile, from another thread, to hurry the first call.
        """
        until = time.monotonic() + drain_seconds
        ended = [server.stop(max(0.0, until - time.monotonic())) for _, server in self._servers()]
        return all(ended)

    def _servers(self) -> list[tuple[str, NbdServer]]:
        return [("unix", self._unix), *([("tcp", self._tcp)] if self._tcp else [])]
