"""What an `Ioctx` of the look-alike `rados` hands to the look-alike `rbd`: where its calls go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from cowshed.compat.conf import Conf
from cowshed.process import Home
from cowshed.store import Store


@dataclass(frozen=True, slots=True)
class Scope:
    """One pool (and namespace, "" for the pool's own) of an open store, and the client's configuration."""

    store: Store
    pool: str
    namespace: str
    conf: Conf
    home: Home = field(default_factory=Home)
    """The process that opened the store; a forked one cannot use it."""


class Scoped(ABC):
    """What has a scope. `Ioctx` is one."""

    @abstractmethod
    def scope(self) -> Scope:
        """The scope of now: pool and namespace may change. Raises the face's own error when closed."""


def scope_of(ioctx: object) -> Scope:
    """The scope of an Ioctx. Raises TypeError for anything else, as the real modules do."""
    if not isinstance(ioctx, Scoped):
        raise TypeError(
            f"Argument 'ioctx' has incorrect type (expected rados.Ioctx, got {type(ioctx).__name__})"
        )
    return ioctx.scope()
