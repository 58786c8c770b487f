"""From a target to an open store: picks the engine that the target names."""

# Importing pathlib would cost every command more than opening the store does.
# ruff: noqa: PTH100, PTH118

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from cowshed.errors import InvalidArgument, NotFound, StoreLocked, UnsupportedTarget
from cowshed.wire.http import SOCKET_NAME

if TYPE_CHECKING:
    from cowshed.local.store import LocalStore
    from cowshed.store.interface import Store

_CACHE_BYTES = 64 << 20
_TURN_SECONDS = 0.1
"""How long to wait for a store that is owned before looking again whether it is served by now."""


def open(
    target: str | os.PathLike[str],
    *,
    create: bool = False,
    wait_seconds: float = 0.0,
    cache_bytes: int = _CACHE_BYTES,
    owner: str = "cowshed",
    background: bool = True,
) -> Store:
    """Open the store at `target`: the path of a store directory, or `cowshed://HOST:PORT` (cowshed.remote).

    A path whose store a daemon serves is opened through that daemon; all arguments but `create` then mean
    nothing. `create` makes the store where there is none. `wait_seconds` is how long to wait while another
    process owns it, or is about to serve it. `cache_bytes` bounds the cache of metadata pages. `owner` is
    what another process is told that finds the store owned. Without `background`, freed space comes back
    only when `reclaim` is called.

    Raises NotFound, StoreLocked, StoreDamaged, UnsupportedFormat, UnsupportedTarget, IOFailure,
    PermissionDenied.
    """
    if _scheme(target) == "cowshed":
        from cowshed.remote import connect

        return connect(os.fspath(target))
    path = _local_path(target)
    _make_or_miss(path, create)
    end = time.monotonic() + wait_seconds
    while True:
        if served := _served(path):
            return served
        left = max(end - time.monotonic(), 0.0)
        try:
            return _open_directly(path, min(left, _TURN_SECONDS), cache_bytes, owner, background)
        except StoreLocked:
            # Its owner may be a daemon that has just begun to listen.
            if left <= _TURN_SECONDS:
                if served := _served(path):
                    return served
                raise


def open_directly(
    target: str | os.PathLike[str],
    *,
    create: bool = False,
    wait_seconds: float = 0.0,
    cache_bytes: int = _CACHE_BYTES,
    owner: str = "cowshed",
    background: bool = True,
) -> LocalStore:
    """As `open`, by this process itself: the path of a store, and never through a daemon."""
    path = _local_path(target)
    _make_or_miss(path, create)
    return _open_directly(path, wait_seconds, cache_bytes, owner, background)


def init(target: str | os.PathLike[str]) -> None:
    """Make a store, with its first pool `rbd`, in a directory that is empty or not there yet.

    Raises AlreadyExists, UnsupportedTarget, PermissionDenied, IOFailure. If it is cut short, the first
    `open` completes it.
    """
    path = _local_path(target)

    from cowshed._kernel import Kernel
    from cowshed.local.boundary import kernel_errors

    with kernel_errors:
        Kernel.create(path)
    open_directly(path, background=False).close()


def _served(path: str) -> Store | None:
    """The store through its daemon; None where none listens."""
    socket = os.path.join(path, SOCKET_NAME)
    if not os.path.lexists(socket):
        return None
    from cowshed.remote import discover

    return discover(path, socket)


def _open_directly(
    path: str, wait_seconds: float, cache_bytes: int, owner: str, background: bool
) -> LocalStore:
    from cowshed._kernel import Kernel
    from cowshed.local.boundary import kernel_errors
    from cowshed.local.store import LocalStore

    with kernel_errors:
        kernel = Kernel.open(
            path, cache_bytes=cache_bytes, wait_seconds=wait_seconds, owner=owner, background=background
        )
    try:
        return LocalStore(kernel, path)
    except BaseException:
        kernel.close()
        raise


def _make_or_miss(path: str, create: bool) -> None:
    if create and not _holds_something(path):
        init(path)
    elif not os.path.lexists(path):
        raise NotFound(f"no store at {path!r}", hint=f"`cowshed --store {path} init` makes one")


def _scheme(target: str | os.PathLike[str]) -> str | None:
    """What stands before `://`; None for a path."""
    scheme, colon, _ = os.fspath(target).partition("://")
    return scheme if colon and scheme.isalnum() else None


def _local_path(target: str | os.PathLike[str]) -> str:
    text = os.fspath(target)
    if not text:
        raise InvalidArgument("no store is named", hint="give --store PATH or set COWSHED_STORE")
    scheme = _scheme(target)
    if scheme == "cowshed":
        raise UnsupportedTarget(f"{text!r} is served by another process", hint="give the path of a store")
    if scheme:
        raise UnsupportedTarget(
            f"cannot open {text!r}: no engine here for {scheme}://",
            hint="give a path, or cowshed://HOST:PORT",
        )
    return os.path.abspath(text)


def _holds_something(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return any(True for _ in entries)
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return True
