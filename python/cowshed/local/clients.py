"""Who has images open for writing through one open store, and who of them holds the exclusive lock."""

from __future__ import annotations

import os
import threading

from cowshed.errors import Busy, InvalidArgument, NotFound
from cowshed.store.records import Locker, Watcher


class Clients:
    """In memory: it ends with the open store, as a client's watches and exclusive locks do in RBD.

    All that have an image open here are one RBD client, and tell one another apart by their cookies.
    """

    def __init__(self) -> None:
        self.name = f"client.{int.from_bytes(os.urandom(5))}"
        self.address = f"{os.uname().nodename}:0/{os.getpid()}"
        self._lock = threading.Lock()
        self._writers: dict[str, set[str]] = {}
        self.owners: dict[str, str] = {}
        """The cookies of those that acquired an image's exclusive lock, by the image's id."""
        self._entered = 0

    def enter(self, image_id: str) -> str:
        """Someone opens an image for writing; a cookie for it."""
        with self._lock:
            self._entered += 1
            cookie = f"auto {self._entered}"
            self._writers.setdefault(image_id, set()).add(cookie)
            return cookie

    def leave(self, image_id: str, cookie: str) -> None:
        """Closes it, and lets go what it held."""
        with self._lock:
            writers = self._writers.get(image_id, set())
            writers.discard(cookie)
            if not writers:
                self._writers.pop(image_id, None)
            if self.owners.get(image_id) == cookie:
                del self.owners[image_id]

    def watchers(self, image_id: str) -> list[Watcher]:
        """Those that have it open now."""
        with self._lock:
            return [
                Watcher(self.name, cookie, self.address) for cookie in sorted(self._writers.get(image_id, ()))
            ]

    def acquire(self, image_id: str, cookie: str) -> None:
        """Raises Busy if another has it."""
        with self._lock:
            if self.owners.setdefault(image_id, cookie) != cookie:
                raise Busy("the exclusive lock is held by another who has the image open")

    def release(self, image_id: str, cookie: str) -> None:
        """Raises InvalidArgument if it is not held so."""
        with self._lock:
            if self.owners.get(image_id) != cookie:
                raise InvalidArgument("the exclusive lock is not held")
            del self.owners[image_id]

    def owner(self, image_id: str) -> Locker | None:
        """Who holds it."""
        cookie = self.owners.get(image_id)
        return None if cookie is None else Locker(self.name, cookie, self.address)

    def break_owner(self, image_id: str, cookie: str) -> None:
        """Take it from whoever has it. Raises NotFound if he has not."""
        with self._lock:
            if self.owners.get(image_id) != cookie:
                raise NotFound(f"no one holds the exclusive lock as {cookie!r}")
            del self.owners[image_id]
