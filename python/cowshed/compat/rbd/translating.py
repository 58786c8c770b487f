"""From what a store raises to what librbd's users know: the one place where a CowshedError becomes another.

Every call into a store stands within `answering("error doing so")`. The class is chosen by the errno that
librbd would have answered, from the table of what the call is about: images, or objects and groups. The
text is the real module's; what the store said is added to it as a note, which tracebacks show.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from types import TracebackType
from typing import Final

from cowshed import errors as stores
from cowshed.compat.rbd import errors
from cowshed.errors import CowshedError

OF_IMAGES: Final[Mapping[int, type[errors.OSError]]] = {
    errno.EPERM: errors.PermissionError,
    errno.ENOENT: errors.ImageNotFound,
    errno.EIO: errors.IOError,
    errno.ENOSPC: errors.NoSpace,
    errno.EEXIST: errors.ImageExists,
    errno.EINVAL: errors.InvalidArgument,
    errno.EROFS: errors.ReadOnlyImage,
    errno.EBUSY: errors.ImageBusy,
    errno.ENOTEMPTY: errors.ImageHasSnapshots,
    errno.ENOSYS: errors.FunctionNotSupported,
    errno.EDOM: errors.ArgumentOutOfRange,
    errno.ESHUTDOWN: errors.ConnectionShutdown,
    errno.ETIMEDOUT: errors.Timeout,
    errno.EDQUOT: errors.DiskQuotaExceeded,
    errno.EOPNOTSUPP: errors.OperationNotSupported,
    errno.ECANCELED: errors.OperationCanceled,
}
"""What a call about an image raises, by errno; any other errno is a plain OSError."""

OF_GROUPS: Final[Mapping[int, type[errors.OSError]]] = {
    **OF_IMAGES,
    errno.ENOENT: errors.ObjectNotFound,
    errno.EEXIST: errors.ObjectExists,
}
"""The same for calls about groups."""

_ERRNO_OF: Final[tuple[tuple[type[CowshedError], int], ...]] = (
    (stores.PermissionDenied, errno.EPERM),
    (stores.NotAuthenticated, errno.EPERM),
    (stores.StaleHandle, errno.ENOENT),
    (stores.Closed, errno.ESHUTDOWN),
    (stores.StoreDamaged, errno.EIO),
    (stores.UnsupportedTarget, errno.EIO),
    (stores.FormatError, errno.EIO),
)
"""Where librbd has another errno for it than the store."""


def make_error(
    code: int, message: object, table: Mapping[int, type[errors.OSError]] = OF_IMAGES
) -> errors.OSError:
    """The exception for an errno, whatever its sign."""
    return table.get(abs(code), errors.OSError)(message, errno=abs(code))


def errno_of(error: CowshedError) -> int:
    """The errno that librbd would have answered."""
    for kind, code in _ERRNO_OF:
        if isinstance(error, kind):
            return code
    return error.errno


class answering:
    """`with answering("error creating image"):` what the store raises within comes out as librbd's."""

    __slots__ = ("_errnos", "_message", "_table")

    def __init__(
        self,
        message: object,
        table: Mapping[int, type[errors.OSError]] = OF_IMAGES,
        *,
        errnos: Mapping[type[CowshedError], int] | None = None,
    ) -> None:
        """`errnos` tells for this call alone which errno librbd has for a class of the store's."""
        self._message = message
        self._table = table
        self._errnos = errnos or {}

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(value, CowshedError):
            return
        code = next((code for said, code in self._errnos.items() if isinstance(value, said)), None)
        answer = make_error(errno_of(value) if code is None else code, self._message, self._table)
        answer.add_note(str(value))
        raise answer from None
