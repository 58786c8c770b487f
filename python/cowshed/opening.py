"""From a target to an open store: picks the engine that the target names."""

# Importing pathlib would cost every command more than opening the store does.
# ruff: noqa: PTH100

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cowshed.errors import InvalidArgument, NotFound, UnsupportedTarget

if TYPE_CHECKING:
    from cowshed.store.interface import Store

_CACHE_BYTES = 64 << 20


def open(
    target: str | os.PathLike[str],
    *,
    create: bool = False,
    wait_seconds: float = 0.0,
    cache_bytes: int = _CACHE_BYTES,
    owner: str = "cowshed",
    background: bool = True,
) -> Store:
    """Open the store at `target`: for now the path of a store directory.

    `create` makes the store where there is none. `wait_seconds` is how long to wait while another process
    owns it. `cache_bytes` bounds the cache of metadata pages. `owner` is what another process is told
    that finds the store owned. Without `background`, freed space comes back only when `reclaim` is called.

    Raises NotFound, StoreLocked, StoreDamaged, UnsupportedFormat, UnsupportedTarget, IOFailure.
    """
    path = _local_path(target)
    if create and not _holds_something(path):
        init(path)
    elif not os.path.lexists(path):
        raise NotFound(f"no store at {path!r}", hint=f"`cowshed --store {path} init` makes one")

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
    open(path, background=False).close()


def _local_path(target: str | os.PathLike[str]) -> str:
    text = os.fspath(target)
    if not text:
        raise InvalidArgument("no store is named", hint="give --store PATH or set COWSHED_STORE")
    scheme, colon, _ = text.partition("://")
    if colon and scheme.isalnum():
        raise UnsupportedTarget(f"cannot open {text!r}: no engine here for {scheme}://", hint="give a path")
    return os.path.abspath(text)


def _holds_something(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return any(True for _ in entries)
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return True
