"""Advisory locks on images: RBD's `lock` class, by the same rules."""

from __future__ import annotations

from cowshed.errors import AlreadyExists, Busy, NotFound
from cowshed.local import keys
from cowshed.local.boundary import kernel_errors
from cowshed.local.catalog import Change
from cowshed.local.clients import Client, Openings
from cowshed.local.part import Part
from cowshed.local.stored import StoredLock
from cowshed.store.locks import Locks
from cowshed.store.records import Locker, LockInfo, Watcher
from cowshed.store.spec import ImageSpec, as_image


class LocalLocks(Part, Locks):
    """The locks of a local store."""

    _client: Client
    _openings: Openings

    @property
    def client(self) -> str:
        return self._client.name

    @kernel_errors
    def locks(self, spec: ImageSpec | str) -> LockInfo | None:
        image_id, _ = self._catalog.image(as_image(spec))
        key = keys.lock(image_id)
        value = self._catalog.get(key)
        if value is None:
            return None
        lock = StoredLock.decode(key, value)
        return LockInfo(lock.exclusive, lock.tag, tuple(Locker(*locker) for locker in lock.lockers))

    @kernel_errors
    def lock(self, spec: ImageSpec | str, cookie: str, *, tag: str | None = None) -> None:
        spec, me = as_image(spec), (self.client, cookie, self._client.address)

        def decide(change: Change) -> None:
            key, lock = _lock_of(change, spec)
            lockers = lock.lockers if lock else ()
            same = lock is not None and lock.tag == (tag or "")
            if same and any(locker[:2] == me[:2] for locker in lockers):
                raise AlreadyExists(f"this client has the lock of {str(spec)!r} already")
            if lock and (tag is None or lock.exclusive or not same):
                raise Busy(
                    f"{str(spec)!r} is locked by {lock.lockers[0][0]}", hint="`cowshed lock ls` lists who"
                )
            change.put(key, StoredLock(tag is None, tag or "", (*lockers, me)).encode())

        self._catalog.change(decide)

    def unlock(self, spec: ImageSpec | str, cookie: str) -> None:
        self.break_lock(spec, self.client, cookie)

    @kernel_errors
    def break_lock(self, spec: ImageSpec | str, client: str, cookie: str) -> None:
        spec = as_image(spec)

        def decide(change: Change) -> None:
            key, lock = _lock_of(change, spec)
            lockers = lock.lockers if lock else ()
            rest = tuple(locker for locker in lockers if locker[:2] != (client, cookie))
            if lock is None or len(rest) == len(lockers):
                raise NotFound(
                    f"{client} has no lock {cookie!r} of {str(spec)!r}", hint="`cowshed lock ls` lists them"
                )
            if rest:
                change.put(key, StoredLock(lock.exclusive, lock.tag, rest).encode())
            else:
                change.delete(key)

        self._catalog.change(decide)

    @kernel_errors
    def watchers(self, spec: ImageSpec | str) -> list[Watcher]:
        image_id, _ = self._catalog.image(as_image(spec))
        return self._openings.watchers(image_id)


def _lock_of(change: Change, spec: ImageSpec) -> tuple[bytes, StoredLock | None]:
    key = keys.lock(change.image(spec)[0])
    value = change.get(key)
    return key, None if value is None else StoredLock.decode(key, value)
