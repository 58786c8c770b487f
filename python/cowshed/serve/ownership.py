"""Owning a store as its daemon does."""

from __future__ import annotations

import time
from typing import Final

from cowshed._kernel import Kernel
from cowshed.errors import NotFound, StoreLocked
from cowshed.local.boundary import kernel_errors
from cowshed.local.store import LocalStore
from cowshed.opening import init
from cowshed.serve import logs
from cowshed.serve.settings import Settings

_NAME: Final = "cowshed serve"
_SLICE: Final = 0.2
"""Seconds between two looks at who has the store."""


def own(settings: Settings, *, create: bool, wait_seconds: float) -> tuple[Kernel, LocalStore]:
    """Open the store for this daemon; closing the store closes the kernel too.

    A command that has the store is waited for; another daemon is not. Raises StoreLocked, NotFound, and
    what opening raises.
    """
    try:
        kernel = _open(settings, wait_seconds)
    except NotFound:
        if not create:
            raise NotFound(
                f"no store at {settings.store!r}", hint="`cowshed serve --create` makes it first"
            ) from None
        init(settings.store)
        kernel = _open(settings, wait_seconds)
    try:
        return kernel, LocalStore(kernel, settings.store)
    except BaseException:
        kernel.close()
        raise


def _open(settings: Settings, wait_seconds: float) -> Kernel:
    # Told, with the pid, to whoever finds the store owned: another daemon knows a daemon by its first words.
    owner = f"{_NAME} at {settings.control_socket}"
    until = time.monotonic() + wait_seconds
    waiting = False
    while True:
        left = max(0.0, until - time.monotonic())
        try:
            with kernel_errors:
                return Kernel.open(
                    settings.store,
                    cache_bytes=settings.cache,
                    wait_seconds=min(left, _SLICE),
                    owner=owner,
                )
        except StoreLocked as locked:
            if f" by {_NAME}" in locked.message:
                raise StoreLocked(
                    locked.message, hint="one daemon serves a store: stop that one first"
                ) from None
            if left <= _SLICE:
                raise
            if not waiting:
                logs.event("daemon.waiting", locked.message, seconds=wait_seconds)
                waiting = True
