"""Handles: what remote clients have open.

A handle is an open image or snapshot of one client. It says where the data is (the name of an NBD export,
with a token that only its client knows), holds the exclusive lock, and makes the client a watcher. It ends
when its client says so, with its last NBD connection, or when it has none for a while; so a client that dies
leaves nothing open.

A connection that is over may be followed by another: of a client that asks about an export before it uses
it, or that lost its connection. So a handle stays for some seconds after the last one.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import islice

from cowshed.errors import Busy, Closed, NotFound, StaleHandle
from cowshed.local.image import LocalImage
from cowshed.local.store import LocalStore
from cowshed.serve.principal import Principal
from cowshed.wire.answers import DiffPage, HandleInfo, HandleLock
from cowshed.wire.http import HANDLE_EXPORTS

IDLE_SECONDS = 30.0
"""How long a handle lives that had no connection yet: as long as a watch in Ceph, of a client that died."""
LINGER_SECONDS = 5.0
"""How long it lives when its last connection is over."""
MOST = 10_000
DIFF_PAGE = 4096
"""Extents in one answer."""


class Handle:
    """One opening. Its image checks what may be done; this adds whose it is, and its connections."""

    def __init__(self, image: LocalImage, client: str, principal: Principal, now: float) -> None:
        self.id = os.urandom(8).hex()
        self.token = os.urandom(16).hex()
        self.image = image
        self.client = client
        self.principal = principal
        self.connections = 0
        self.ends_at = now + IDLE_SECONDS
        """When it ends, if it has no connection then."""

    @property
    def export(self) -> str:
        """The name of its NBD export: whoever knows it can use the disk."""
        return HANDLE_EXPORTS + self.token

    def info(self, *, secret: bool = False) -> HandleInfo:
        """What is told of it; with `secret`, the export too."""
        return HandleInfo(
            id=self.id,
            spec=str(self.image.spec),
            image_id=self.image.image_id,
            size=self.image.size,
            read_only=self.image.read_only,
            client=self.client,
            cookie=self.image.cookie,
            export=self.export if secret else None,
        )

    def known(self) -> HandleInfo | None:
        """As `info`, or None if it was closed or removed meanwhile."""
        try:
            return self.info()
        except (Closed, StaleHandle):
            return None

    def lock(self) -> HandleLock:
        """Who holds the exclusive lock. Raises what `Image.lock_owner` raises."""
        return HandleLock(self.image.lock_owner(), self.image.is_lock_owner)

    def diff(self, from_snapshot: str | None, offset: int, length: int | None, own: bool) -> DiffPage:
        """The first extents of `Image.diff`."""
        extents = self.image.diff(from_snapshot, offset=offset, length=length, own=own)
        page = tuple(islice(extents, DIFF_PAGE))
        return DiffPage(page, page[-1].end if len(page) == DIFF_PAGE else None)


class Handles:
    """All handles of a daemon. `clock` counts seconds, from whenever."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._by_id: dict[str, Handle] = {}
        self._by_token: dict[str, Handle] = {}

    def open(
        self,
        store: LocalStore,
        principal: Principal,
        spec: str,
        *,
        read_only: bool = False,
        snapshot_id: int | None = None,
        cached: bool = True,
    ) -> Handle:
        """Open as `Store.open`, for the client that `store` acts for. Raises Busy when there are too many."""
        with self._lock:
            if len(self._by_id) >= MOST:
                raise Busy(f"{MOST} images are open by clients already", hint="close some")
        image = store.open(spec, read_only=read_only, snapshot_id=snapshot_id, cached=cached)
        handle = Handle(image, store.client, principal, self._clock())
        with self._lock:
            self._by_id[handle.id] = handle
            self._by_token[handle.token] = handle
        return handle

    def get(self, handle_id: str, principal: Principal) -> Handle:
        """A handle of this principal's. Raises NotFound, for another's too."""
        with self._lock:
            handle = self._by_id.get(handle_id)
        if handle is None or handle.principal.name != principal.name:
            raise NotFound(f"no handle {handle_id!r}", hint="it has ended; open the image again")
        return handle

    def of_token(self, token: str) -> Handle | None:
        """The handle whose export has this token."""
        with self._lock:
            return self._by_token.get(token)

    def all(self) -> list[Handle]:
        """Those that are open now, in the order of opening."""
        with self._lock:
            return list(self._by_id.values())

    def listed(self, principal: Principal) -> list[HandleInfo]:
        """Those whose pools the principal may see."""
        seen = [handle for handle in self.all() if principal.sees([handle.image.spec.pool])]
        return [info for handle in seen if (info := handle.known())]

    def end(self, handle: Handle, *, written: bool = False) -> None:
        """Close it, if it is not closed yet. `written`: its client says that it has written the disk."""
        with self._lock:
            if not self._take_out(handle):
                return
        if written:
            handle.image.note_written()
        handle.image.close()

    def _take_out(self, handle: Handle) -> bool:
        """From the lists; False if it was not there any more."""
        self._by_token.pop(handle.token, None)
        return self._by_id.pop(handle.id, None) is not None

    def connected(self, handle: Handle) -> bool:
        """An NBD connection begins; False if the handle has ended."""
        with self._lock:
            handle.connections += 1
            return handle.id in self._by_id

    def disconnected(self, handle: Handle) -> None:
        """An NBD connection is over; the handle goes soon after the last one."""
        with self._lock:
            handle.connections -= 1
            handle.ends_at = self._clock() + LINGER_SECONDS

    def sweep(self) -> None:
        """End those that have had no connection for too long."""
        now = self._clock()
        with self._lock:
            # Taken out in the same moment, so that none of them gets a connection in between.
            over = [each for each in self._by_id.values() if not each.connections and each.ends_at <= now]
            for handle in over:
                self._take_out(handle)
        _close_all(over)

    def close(self) -> None:
        """End all."""
        with self._lock:
            over = list(self._by_id.values())
            for handle in over:
                self._take_out(handle)
        _close_all(over)


def _close_all(handles: list[Handle]) -> None:
    """Every one of them, whatever becomes of the others; raises what one of them raised."""
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.image.close)
