"""The part of a store that keeps RBD's advisory locks."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cowshed.store.records import LockInfo, Watcher
from cowshed.store.spec import ImageSpec


class Locks(ABC):
    """Advisory locks on images: they last until they are let go or broken, and hinder no one who does not
    ask.

    A holder is a client (this open store) and a cookie (a text of its choice). Breaking a lock only removes
    it: nothing keeps its holder from writing.
    """

    @property
    @abstractmethod
    def client(self) -> str:
        """Who this open store is in locks: `client.` and a number that no other one has."""

    @abstractmethod
    def locks(self, spec: ImageSpec | str) -> LockInfo | None:
        """Who holds the image's lock; None: no one."""

    @abstractmethod
    def lock(self, spec: ImageSpec | str, cookie: str, *, tag: str | None = None) -> None:
        """Take the lock: alone, or with a `tag` together with all that give the same.

        Raises AlreadyExists if this client has it with this cookie, Busy if others have it.
        """

    @abstractmethod
    def unlock(self, spec: ImageSpec | str, cookie: str) -> None:
        """Let it go. Raises NotFound if this client does not have it with this cookie."""

    @abstractmethod
    def break_lock(self, spec: ImageSpec | str, client: str, cookie: str) -> None:
        """Take it from whoever has it. Raises NotFound if no one has it so."""

    @abstractmethod
    def watchers(self, spec: ImageSpec | str) -> list[Watcher]:
        """Who has the image open for writing through this store."""
