"""The one place where the kernel's errors become cowshed's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import ParamSpec, TypeVar

from cowshed._kernel import KernelError
from cowshed.errors import (
    AlreadyExists,
    Busy,
    Closed,
    CowshedError,
    InvalidArgument,
    IOFailure,
    NoSpace,
    NotFound,
    PermissionDenied,
    ReadOnly,
    StaleHandle,
    StoreDamaged,
    StoreLocked,
    UnsupportedFormat,
)

P = ParamSpec("P")
R = TypeVar("R")

_OF_KIND: dict[str, tuple[type[CowshedError], str | None]] = {
    "missing": (NotFound, None),
    "exists": (AlreadyExists, None),
    "invalid": (InvalidArgument, None),
    "read-only": (ReadOnly, None),
    "stale": (StaleHandle, "open it again if it still exists"),
    "conflict": (Busy, "try again"),
    "locked": (StoreLocked, "wait for it, or stop it"),
    "no-space": (NoSpace, "make room, or remove images or snapshots"),
    "refused": (PermissionDenied, None),
    "io": (IOFailure, None),
    "damaged": (StoreDamaged, "run `cowshed check` to see all that is wrong"),
    "format": (UnsupportedFormat, None),
    "closed": (Closed, None),
    "failed": (IOFailure, "close the store and open it again; what was flushed is safe"),
}


def translated(error: KernelError) -> CowshedError:
    """The member of the tree for what the kernel refused."""
    cls, hint = _OF_KIND.get(error.kind, (IOFailure, None))
    return cls(str(error), hint=hint)


class _Boundary:
    """`with kernel_errors:`, or `@kernel_errors`, around calls of the kernel; without state: one serves all
    threads.
    """

    __slots__ = ()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return wrapper

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(value, KernelError):
            raise translated(value) from None


kernel_errors = _Boundary()
