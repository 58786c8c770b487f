"""Who has images open for writing through one open store, and who of them holds the exclusive lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from cowshed import native
from cowshed.errors import Busy, InvalidArgument, NotFound
from cowshed.store.records import Locker, Watcher


@dataclass(frozen=True, slots=True)
class Client:
    """Who acts, in locks and among watchers."""

    name: str
    """`client.` and a number that no other one has."""
    address: str
    """`host:0/pid`, for people."""


def this_process() -> Client:
    """A new client, of this process."""
    name = f"client.{int.from_bytes(os.urandom(5))}"
    return Client(name, f"{os.uname().nodename}:0/{os.getpid()}")


class Fence(Protocol):
    """What tells those who write without asking here (NBD) that someone holds the exclusive lock."""

    owner: int
    """The number of the opening that holds it; 0: none does."""


class Openings:
    """In memory: it ends with the open store, as watches and exclusive locks do in RBD.

    Every opening has a number, and a cookie made of it; clients may have several of one image. The exclusive
    lock is among all openings of an image, whoever's they are.

    An opening that never asked for the lock takes part as a librbd client does that leaves it to librbd: when
    it writes, the lock of another who took it as `automatic` goes over to it. One that did ask once is
    refused without the lock, and must ask again.
    """

    def __init__(self) -> None:
        self._lock = native.lock()
        self._writers: dict[str, dict[int, Client]] = {}
        self.owners: dict[str, int] = {}
        """The openings that hold their image's exclusive lock, by the image's id."""
        self._lent: set[str] = set()
        """The images whose lock goes over to whoever asks for it next, or writes."""
        self._asking: set[int] = set()
        """The openings that ever asked for the lock to keep it."""
        self._fences: dict[str, tuple[Fence, int]] = {}
        self._entered = 0

    def enter(self, image_id: str, client: Client) -> int:
        """Someone opens an image for writing; a number for it."""
        with self._lock:
            self._entered += 1
            self._writers.setdefault(image_id, {})[self._entered] = client
            return self._entered

    def leave(self, image_id: str, number: int) -> None:
        """Closes it, and lets go what it held."""
        with self._lock:
            writers = self._writers.get(image_id, {})
            writers.pop(number, None)
            self._asking.discard(number)
            if not writers:
                self._writers.pop(image_id, None)
            if self.owners.get(image_id) == number:
                self._disown(image_id)

    def watchers(self, image_id: str) -> list[Watcher]:
        """Those that have it open now, in the order of opening."""
        with self._lock:
            return [
                Watcher(client.name, cookie(number), client.address)
                for number, client in self._writers.get(image_id, {}).items()
            ]

    def acquire(self, image_id: str, number: int, *, automatic: bool = False) -> None:
        """Raises Busy if another keeps it; one who took it as `automatic` does not."""
        with self._lock:
            if not automatic:
                self._asking.add(number)
            owner = self.owners.get(image_id)
            if owner not in (None, number) and image_id not in self._lent:
                raise Busy("the exclusive lock is held by another who has the image open")
            if not automatic:
                self._lent.discard(image_id)
            elif owner != number:
                self._lent.add(image_id)
            self.owners[image_id] = number
            self._tell(image_id, number)

    def may_write(self, image_id: str, number: int) -> bool:
        """Whether an opening may, which gets the lock where another has it and does not keep it."""
        with self._lock:
            owner = self.owners.get(image_id)
            if owner in (None, number):
                return True
            if image_id not in self._lent or number in self._asking:
                return False
            self.owners[image_id] = number
            self._tell(image_id, number)
            return True

    def release(self, image_id: str, number: int) -> None:
        """Raises InvalidArgument if it is not held so."""
        with self._lock:
            if self.owners.get(image_id) != number:
                raise InvalidArgument("the exclusive lock is not held")
            self._disown(image_id)

    def owner(self, image_id: str) -> Locker | None:
        """Who holds it."""
        with self._lock:
            number = self.owners.get(image_id)
            if number is None:
                return None
            client = self._writers[image_id][number]
            return Locker(client.name, cookie(number), client.address)

    def break_owner(self, image_id: str, broken: str) -> None:
        """Take it from the one with that cookie. Raises NotFound if he does not hold it."""
        with self._lock:
            number = self.owners.get(image_id)
            if number is None or cookie(number) != broken:
                raise NotFound(f"no one holds the exclusive lock as {broken!r}")
            self._disown(image_id)

    def disown(self, image_id: str) -> None:
        """The image has no exclusive lock any more: whoever held it holds nothing."""
        with self._lock:
            if image_id in self.owners:
                self._disown(image_id)

    def fence(self, image_id: str, make: Callable[[Callable[[int], bool]], Fence]) -> Fence:
        """The image's fence, which follows the lock until `unfence` was called as often as this.

        `make` is given what the fence is to ask, `may_write` with the opening's number.
        """
        with self._lock:
            fence, users = self._fences.get(image_id) or (make(partial(self.may_write, image_id)), 0)
            self._fences[image_id] = fence, users + 1
            fence.owner = self.owners.get(image_id, 0)
            return fence

    def unfence(self, image_id: str) -> None:
        """One that asked for the fence needs it no longer."""
        with self._lock:
            fence, users = self._fences.pop(image_id)
            if users > 1:
                self._fences[image_id] = fence, users - 1

    def _disown(self, image_id: str) -> None:
        del self.owners[image_id]
        self._lent.discard(image_id)
        self._tell(image_id, 0)

    def _tell(self, image_id: str, number: int) -> None:
        found = self._fences.get(image_id)
        if found:
            found[0].owner = number


def cookie(number: int) -> str:
    """What an opening is called in lists of watchers and lockers."""
    return f"auto {number}"
