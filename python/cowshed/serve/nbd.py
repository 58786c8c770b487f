"""The NBD server as the operator set it up: its sockets, who may name images where, and who came and went."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from cowshed.serve import logs
from cowshed.serve.settings import Settings
from cowshed.wire.http import HANDLE_EXPORTS

if TYPE_CHECKING:
    from cowshed._kernel import NbdExport, NbdExports


class GuardedExports:
    """The exports of a store, with a log of who uses them, and with TCP kept to those who may.

    NBD has no passwords. Who reaches the Unix socket was let in by the file system; who shows a certificate
    was let in by TLS. Over TCP without either, only handles are served, whose names are secrets.
    """

    def __init__(self, inner: NbdExports, settings: Settings) -> None:
        self._inner = inner
        self._handles_only = settings.nbd_listen is not None and not settings.named_exports_over_tcp
        self._hidden = settings.nbd_hidden or self._handles_only
        self._lock = threading.Lock()
        self._open: dict[int, tuple[str, str, float]] = {}

    def open(self, name: str, peer: str) -> NbdExport:
        """As the exports do. Raises PermissionError too, for a name that this peer may not use."""
        try:
            if self._handles_only and not _is_local(peer) and not name.startswith(HANDLE_EXPORTS):
                raise PermissionError("over TCP, only handles are served here (see --tls-client-ca)")
            export = self._inner.open(name, peer)
        except (LookupError, PermissionError) as error:
            logs.event(
                "nbd.refused",
                "an NBD client was refused",
                level=logging.WARNING,
                export=name,
                peer=peer,
                why=error,
            )
            raise
        with self._lock:
            self._open[id(export)] = (name, peer, time.monotonic())
        logs.event(
            "nbd.connected",
            "an NBD client opened an export",
            export=export.label or name,
            peer=peer,
            read_only=export.read_only,
        )
        return export

    def close(self, export: NbdExport) -> None:
        """As the exports do."""
        try:
            self._inner.close(export)
        finally:
            with self._lock:
                name, peer, since = self._open.pop(id(export), ("", "", time.monotonic()))
            logs.event(
                "nbd.disconnected",
                "an NBD connection is over",
                export=export.label or name,
                peer=peer,
                seconds=round(time.monotonic() - since, 3),
            )

    def names(self) -> list[tuple[str, str]]:
        """As the exports do; none where they are hidden."""
        return [] if self._hidden else self._inner.names()

    def snapshots(self, export: NbdExport) -> list[str]:
        """As the exports do."""
        return self._inner.snapshots(export)

    def snapshot_version(self, export: NbdExport, name: str) -> int:
        """As the exports do."""
        return self._inner.snapshot_version(export, name)


def _is_local(peer: str) -> bool:
    return peer.startswith("unix")


def tls_of(settings: Settings) -> Any:
    """The TLS of NBD over TCP; None where there is none. Raises KernelError."""
    from cowshed._kernel import ServerTls

    if settings.tls is None:
        return None
    return ServerTls(*settings.tls, client_ca=settings.tls_client_ca)
