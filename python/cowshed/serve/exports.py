"""What the NBD server asks at handshakes: which disk an export's name means, and who may have it."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass

from cowshed._kernel import Fence, NbdExport
from cowshed.errors import CowshedError, InvalidArgument, NotFound, PermissionDenied
from cowshed.local.clients import Client, this_process
from cowshed.local.image import LocalImage
from cowshed.local.store import LocalStore
from cowshed.serve.handles import Handle, Handles
from cowshed.store.spec import ImageSpec
from cowshed.wire.http import HANDLE_EXPORTS

log = logging.getLogger("cowshed.serve")


@dataclass(slots=True)
class _Connection:
    export: NbdExport
    """Kept, so that no other one has its identity meanwhile."""
    image: LocalImage
    handle: Handle | None


class Exports:
    """The kernel's `NbdExports`: `pool/[namespace/]image[@snapshot]` by name, or a handle's export.

    `hidden`: names are not listed. Without `by_name` only handles are served. Each connection by name has the
    image open as a client of its own: it is a watcher, and is fenced by others' exclusive lock. Raises
    LookupError and PermissionError, whose words go to the peer.
    """

    def __init__(
        self, store: LocalStore, handles: Handles, *, hidden: bool = False, by_name: bool = True
    ) -> None:
        self._store = store
        self._handles = handles
        self._hidden = hidden
        self._by_name = by_name
        self._lock = threading.Lock()
        self._connections: dict[int, _Connection] = {}

    def open(self, name: str, peer: str) -> NbdExport:
        """The disk of an export for one connection; `close` gives it back."""
        if name.startswith(HANDLE_EXPORTS):
            handle = self._handles.of_token(name.removeprefix(HANDLE_EXPORTS))
            if handle is None:
                raise LookupError("this handle has ended; open the image again")
            # Counted before anything else is done with it, so that it cannot end for idleness meanwhile.
            if not self._handles.connected(handle):
                self._handles.disconnected(handle)
                raise LookupError("this handle has ended; open the image again")
            try:
                return self._connect(handle.image, handle)
            except BaseException:
                self._handles.disconnected(handle)
                raise
        if not self._by_name:
            raise PermissionError("images are not exported by their names here")
        client = Client(this_process().name, peer)
        try:
            image = self._store.acting_for(client).open(name)
        except (NotFound, InvalidArgument) as error:
            raise LookupError(str(error)) from None
        except PermissionDenied as error:
            raise PermissionError(str(error)) from None
        try:
            return self._connect(image, None)
        except BaseException:
            image.close()
            raise

    def _connect(self, image: LocalImage, handle: Handle | None) -> NbdExport:
        spec = str(image.spec)
        fence = image.fence(Fence)
        try:
            export = NbdExport(
                image.version,
                read_only=image.read_only,
                description=spec,
                label=spec,
                fence=fence if isinstance(fence, Fence) else None,
                me=image.number,
                cached=image.cached,
            )
        except BaseException:
            image.unfence()
            raise
        with self._lock:
            self._connections[id(export)] = _Connection(export, image, handle)
        return export

    def close(self, export: NbdExport, fault: str | None) -> None:
        """The connection that `open` was called for is over, or was only asked about."""
        with self._lock:
            connection = self._connections.pop(id(export))
        if fault:
            log.warning("a client of %s broke the NBD protocol: %s", export.label, fault)
        image = connection.image
        if export.written:
            image.note_written()
        image.unfence()
        if connection.handle:
            self._handles.disconnected(connection.handle)
        else:
            image.close()

    def names(self) -> list[tuple[str, str]]:
        """Every image; none when hidden."""
        if self._hidden or not self._by_name:
            return []
        found = []
        for pool in self._store.pools():
            with suppress(NotFound):  # what is removed meanwhile is not there
                for namespace in ("", *self._store.namespaces(pool.name)):
                    names = self._store.images(pool.name, namespace)
                    found += [(str(ImageSpec(pool.name, namespace, name)), "") for name in names]
        return found

    def snapshots(self, export: NbdExport) -> list[str]:
        """The snapshots that a diff to this export can start from."""
        return self._of(export).start_snapshots()

    def snapshot_version(self, export: NbdExport, name: str) -> int:
        """The version of one of them."""
        try:
            return self._of(export).start_version(name)
        except CowshedError as error:
            raise LookupError(str(error)) from None

    def _of(self, export: NbdExport) -> LocalImage:
        with self._lock:
            return self._connections[id(export)].image
