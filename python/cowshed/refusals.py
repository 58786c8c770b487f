"""What the kernel refuses, as members of the one tree of errors; for disks here and disks over NBD alike."""

from __future__ import annotations

from cowshed._kernel import KernelError
from cowshed.errors import (
    AlreadyExists,
    Busy,
    Closed,
    CowshedError,
    Forked,
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
    "forked": (Forked, "open it anew here"),
    "failed": (IOFailure, "close the store and open it again; what was flushed is safe"),
}


def translated(error: KernelError) -> CowshedError:
    """The member of the tree for what the kernel refused."""
    cls, hint = _OF_KIND.get(error.kind, (IOFailure, None))
    return cls(str(error), hint=hint)
