"""Locks of an open image: the exclusive lock among those that have it open, advisory locks, watchers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypedDict

from cowshed import errors as stores
from cowshed.compat.rbd.arguments import integer, text, unsigned
from cowshed.compat.rbd.constants import RBD_LOCK_MODE_EXCLUSIVE
from cowshed.compat.rbd.opened import Opened, answered
from cowshed.compat.rbd.translating import make_error
from cowshed.store import Image as StoreImage
from cowshed.store import SnapshotInfo
from cowshed.store.features import NAMES

_TURNS = 1000
"""So often a write tries anew when another writer has taken the lock in between."""


class LockOwner(TypedDict):
    mode: int
    owner: str


class Watcher(TypedDict):
    addr: str
    id: int
    cookie: int


class Lockers(TypedDict):
    tag: str
    exclusive: bool
    lockers: list[tuple[str, str, str]]


class Locks(Opened):
    """The first writer takes the exclusive lock, and hands it over when another writes. Who has asked for
    it by `lock_acquire` keeps it until he lets it go, and never takes it without asking again.
    """

    _explicit: bool = False
    """Whether this opening ever asked for the lock by itself."""
    _holds: bool = False
    """Whether it got the lock and has not let it go; another may have taken it since."""

    def _guarded(self) -> None:
        """Raises ReadOnlyImage where a write is refused in any case."""
        self._writable()
        if self._explicit and not self._holds and "exclusive-lock" in self._stat().features:
            raise self._not_writable()

    def _as_owner(self, write: Callable[[StoreImage], None]) -> None:
        """Do it as the holder of the exclusive lock, where the image has one."""
        disk = self._writable()
        for _ in range(_TURNS):
            if not self._holds:
                self._take(disk)
            try:
                return write(disk)
            except stores.ReadOnly:
                if self._explicit:
                    raise
                self._holds = False
        raise self._not_writable()

    def _take(self, disk: StoreImage) -> None:
        try:
            disk.lock_acquire(automatic=True)
        except stores.Busy:
            raise self._not_writable() from None
        except stores.InvalidArgument:
            return  # the image has no such feature, and everyone may write
        self._holds = True

    def _let_go(self) -> None:
        """Release the lock if this opening has it."""
        holds, self._holds = self._holds, False
        if holds and self._head is not None:
            with contextlib.suppress(stores.InvalidArgument):
                self._head.lock_release()

    def _choose(self, snap: SnapshotInfo | None) -> None:
        """Who chooses a snapshot lets the lock go."""
        super()._choose(snap)
        if snap is not None:
            self._let_go()

    @answered("error updating features for")
    def update_features(self, features: int, enabled: bool) -> None:
        """Switch features on or off. Raises InvalidArgument where librbd does.

        Whoever switches exclusive-lock on holds the lock then.
        """
        bits = unsigned(features)
        if bits >> len(NAMES):
            raise make_error(22, f"error updating features for image {self._called!r}")
        names = [name for bit, name in enumerate(NAMES) if bits >> bit & 1]
        spec = self._changeable()
        if not enabled and "exclusive-lock" in names:
            self._take(self._writable())  # so that no one else is left with a lock that is none
        self._scope.store.update_features(spec, names, bool(enabled))
        if "exclusive-lock" in names:
            if enabled:
                self._take(self._writable())
            else:
                self._let_go()

    @answered("error acquiring lock on")
    def lock_acquire(self, lock_mode: int) -> None:
        """Take the exclusive lock, and keep it. Raises ReadOnlyImage while another keeps it."""
        if integer(lock_mode) != RBD_LOCK_MODE_EXCLUSIVE:
            raise make_error(95, f"error acquiring lock on image {self._called!r}")
        if self._read_only or self._snap is not None:
            raise make_error(22, f"error acquiring lock on image {self._called!r}")
        self._explicit = True  # even if it is refused: from now on it is not taken unasked
        try:
            self._disk().lock_acquire()
        except stores.Busy:
            raise self._not_writable() from None
        self._holds = True

    @answered("error releasing lock on")
    def lock_release(self) -> None:
        """Raises InvalidArgument if it is not held."""
        if self._read_only or self._snap is not None:
            raise make_error(22, f"error releasing lock on image {self._called!r}")
        self._disk().lock_release()
        self._holds = False

    @answered("error breaking lock on")
    def lock_break(self, lock_mode: int, lock_owner: str) -> None:
        """Take the lock from an owner, named as `lock_get_owners` names it.

        Raises ImageNotFound when no one has it, ImageBusy when another one does.
        """
        owner_name = text(lock_owner, "lock_owner")
        if integer(lock_mode) != RBD_LOCK_MODE_EXCLUSIVE:
            raise make_error(95, f"error breaking lock on image {self._called!r}")
        head = self._writable()
        owner = head.lock_owner()
        if owner is None:
            raise make_error(2, f"error breaking lock on image {self._called!r}")
        if owner.address != owner_name:
            raise make_error(16, f"error breaking lock on image {self._called!r}")
        head.lock_break(owner.cookie)

    @answered("error getting lock owners of")
    def lock_get_owners(self) -> LockOwnerIterator:
        return LockOwnerIterator(self)

    @answered("error checking lock of")
    def is_exclusive_lock_owner(self) -> bool:
        if self._read_only or self._snap is not None:
            return False
        return self._disk().is_lock_owner

    @answered("error listing lockers of")
    def list_lockers(self) -> Lockers | list[object]:
        """The advisory lock; the exclusive one where there is none; an empty list without any."""
        found = self._scope.store.locks(self._spec())
        if found:
            lockers = [(locker.client, locker.cookie, locker.address) for locker in found.lockers]
            return {"tag": found.tag, "exclusive": found.exclusive, "lockers": lockers}
        owner = self._exclusive_owner()
        if owner is None:
            return []
        return {"tag": "internal", "exclusive": True, "lockers": [owner]}

    def _exclusive_owner(self) -> tuple[str, str, str] | None:
        if self._read_only or self._head is None:
            return None
        try:
            owner = self._head.lock_owner()
        except stores.InvalidArgument:
            return None
        return (owner.client, owner.cookie, owner.address) if owner else None

    @answered("error acquiring exclusive lock on")
    def lock_exclusive(self, cookie: str) -> None:
        """Raises ImageBusy if another has a lock, ImageExists if this client has it with this cookie."""
        self._lock(text(cookie, "cookie"), None)

    @answered("error acquiring shared lock on")
    def lock_shared(self, cookie: str, tag: str) -> None:
        """Together with all that give the same tag. Raises as `lock_exclusive`."""
        self._lock(text(cookie, "cookie"), text(tag, "tag"))

    def _lock(self, cookie: str, tag: str | None) -> None:
        if self._exclusive_owner():
            raise make_error(16, f"error acquiring lock on image {self._called!r}")
        self._scope.store.lock(self._spec(), cookie, tag=tag)

    @answered("error unlocking")
    def unlock(self, cookie: str) -> None:
        """Raises ImageNotFound if this client has no such lock."""
        self._scope.store.unlock(self._spec(), text(cookie, "cookie"))

    @answered("error breaking lock on")
    def break_lock(self, client: str, cookie: str) -> None:
        """Take an advisory lock from another client. Raises ImageNotFound."""
        name, cookie = text(client, "client"), text(cookie, "cookie")
        kind, _, number = name.partition(".")
        if kind != "client" or not number.isdecimal():
            raise make_error(22, f"error unlocking image {self._called!r}")
        self._scope.store.break_lock(self._spec(), name, cookie)

    @answered("error listing watchers of")
    def watchers_list(self) -> WatcherIterator:
        return WatcherIterator(self)


class LockOwnerIterator:
    """Who holds the exclusive lock: `mode`, and `owner`, his address."""

    def __init__(self, image: Locks) -> None:
        self._owners: list[LockOwner] = []
        disk = image._disk()
        if not disk.read_only:
            owner = disk.lock_owner()
            if owner:
                self._owners.append({"mode": RBD_LOCK_MODE_EXCLUSIVE, "owner": owner.address})

    def __iter__(self) -> Iterator[LockOwner]:
        yield from self._owners


class WatcherIterator:
    """Who has the image open for writing: `addr`, `id`, `cookie`."""

    def __init__(self, image: Opened) -> None:
        self._watchers: list[Watcher] = [
            {
                "addr": watcher.address,
                "id": _number(watcher.client, "."),
                "cookie": _number(watcher.cookie, " "),
            }
            for watcher in image._scope.store.watchers(image._spec())
        ]

    def __iter__(self) -> Iterator[Watcher]:
        yield from self._watchers


def _number(name: str, before: str) -> int:
    """The number in `client.7` and in `auto 7`."""
    number = name.rpartition(before)[2]
    return int(number) if number.isdecimal() else 0
