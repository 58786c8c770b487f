"""What a daemon answers with besides the store's own records: itself, tasks, handles, events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cowshed.store.records import Extent, Locker


@dataclass(frozen=True, slots=True)
class DaemonInfo:
    """`GET /v1/daemon`: who answers, and where its NBD server is."""

    protocol: int
    """`http.PROTOCOL` of the daemon."""
    version: str
    """Of its cowshed."""
    target: str
    """The store's directory, on the daemon's machine."""
    pid: int
    run: str
    """Another one with each start: what this one was asked with an `Idempotency-Key`, no other knows."""
    nbd: tuple[str, ...]
    """`unix:PATH` and `tcp:HOST:PORT`, those that there are."""
    api: tuple[str, ...] = ()
    """`tcp:HOST:PORT` where holders of tokens reach it."""
    certificate: str | None = None
    """The SHA-256 of its certificate in hexadecimal; None where it has no TLS."""
    store_id: str | None = None
    """`StoreFacts.id`, which those are told, too, who may not ask for the facts."""


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """Long work that goes on without its caller: `GET /v1/tasks/ID`."""

    id: str
    operation: str
    state: str
    """`running`, `done`, `failed` or `cancelled`."""
    changes: int
    """Grows with whatever changes here; `?seen=` this waits for the next one."""
    done: int
    total: int
    """As `Progress` counts; 0 while unknown."""
    started: float
    ended: float | None
    client: str
    specs: tuple[str, ...]
    result: Any = None
    """Of a task that is done: what the operation answers with, as its own answer would hold it."""
    error: dict[str, Any] | None = None
    """Of one that failed or was cancelled: as `errors.encode` makes it."""


@dataclass(frozen=True, slots=True)
class HandleInfo:
    """An image or snapshot that a client has open: `/v1/handles/ID`."""

    id: str
    spec: str
    image_id: str
    """The image's, which stays when it is renamed."""
    size: int
    """Now."""
    read_only: bool
    client: str
    cookie: str
    """Tells it apart from others of the client, as a watcher; empty when read-only."""
    export: str | None = None
    """The name of its NBD export, which is a secret: told to whoever opened it, and only then."""


@dataclass(frozen=True, slots=True)
class HandleLock:
    """The exclusive lock, as a handle sees it."""

    owner: Locker | None
    mine: bool


@dataclass(frozen=True, slots=True)
class DiffPage:
    """A piece of a handle's diff: extents, merged, and the offset to go on from; None at the end."""

    extents: tuple[Extent, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class Event:
    """Something in the store was changed through the daemon."""

    id: str
    """Ascends within one run of the daemon; resume behind it with `Last-Event-ID`."""
    time: float
    operation: str
    """The name of the method of `Store`; `reset`: events may be missing before this one."""
    client: str
    specs: tuple[str, ...]
    """What it was about, in full; empty for an operation on a whole pool or store."""
    pools: tuple[str, ...]
    partly: bool = False
    """It failed or was cancelled on its way, and some of it may be done."""
