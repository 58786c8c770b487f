"""The exceptions of the module `rados`, librados' own, and what becomes of an errno or a CowshedError."""

from __future__ import annotations

import errno as _errno
from contextlib import AbstractContextManager
from types import TracebackType
from typing import ClassVar

from cowshed.errors import CowshedError

MAX_ERRNO = 4095


class Error(Exception):
    """The root of all that this module raises itself. `errno` is positive; None where no one was asked."""

    said: ClassVar[str] = "{}"

    def __init__(self, message: object, errno: int | None = None) -> None:
        super().__init__(self.said.format(message))
        self.message = message
        self.errno = errno

    def __str__(self) -> str:
        said = super().__str__()
        return said if self.errno is None else f"[errno {self.errno}] {said}"

    def __reduce__(self) -> tuple[type[Error], tuple[object, ...]]:
        return type(self), (self.message, self.errno)


class InvalidArgumentError(Error):
    said = "RADOS invalid argument ({})"


class ExtendMismatch(Error):
    """A comparison with what is there failed, at `offset`."""

    said = "object content does not match ({})"

    def __init__(self, message: object, errno: int | None, offset: int) -> None:
        super().__init__(message, errno)
        self.offset = offset

    def __reduce__(self) -> tuple[type[Error], tuple[object, ...]]:
        return type(self), (self.message, self.errno, self.offset)


class OSError(Error):
    """An answer with an errno; itself for those errnos that have no class of their own."""


class InterruptedOrTimeoutError(OSError):
    said = "RADOS interrupted or timeout ({})"


class PermissionError(OSError):
    said = "RADOS permission error ({})"


class PermissionDeniedError(OSError):
    said = "RADOS permission denied ({})"


class ObjectNotFound(OSError):
    said = "RADOS object not found ({})"


class NoData(OSError):
    said = "RADOS no data ({})"


class ObjectExists(OSError):
    said = "RADOS object exists ({})"


class ObjectBusy(OSError):
    said = "RADOS object busy ({})"


class IOError(OSError):
    said = "RADOS I/O error ({})"


class NoSpace(OSError):
    said = "RADOS no space ({})"


class NotConnected(OSError):
    said = "RADOS not connected ({})"


class TimedOut(OSError):
    said = "RADOS timed out ({})"


class ConnectionShutdown(OSError):
    said = "RADOS connection was shutdown ({})"


class RadosStateError(Error):
    """A call on a `Rados` that is not connected, or is no longer."""

    said = "RADOS rados state ({})"


class IoctxStateError(Error):
    """A call on an `Ioctx` that was closed."""

    said = "RADOS Ioctx state error ({})"


class ObjectStateError(Error):
    """A call on an `Object` that was removed."""

    said = "RADOS object state error ({})"


class LogicError(Error):
    said = "RADOS logic error ({})"


class InProgress(Error):
    said = "RADOS in progress error ({})"


class IsConnected(Error):
    said = "RADOS is connected error ({})"


_OF_ERRNO: dict[int, type[Error]] = {
    _errno.EPERM: PermissionError,
    _errno.EINTR: InterruptedOrTimeoutError,
    _errno.ENOENT: ObjectNotFound,
    _errno.EIO: IOError,
    _errno.EACCES: PermissionDeniedError,
    _errno.EBUSY: ObjectBusy,
    _errno.EEXIST: ObjectExists,
    _errno.EINVAL: InvalidArgumentError,
    _errno.ENOSPC: NoSpace,
    _errno.ENODATA: NoData,
    _errno.ETIMEDOUT: TimedOut,
    _errno.EISCONN: IsConnected,
    _errno.EINPROGRESS: InProgress,
    _errno.ENOTCONN: NotConnected,
    _errno.ESHUTDOWN: ConnectionShutdown,
}


def make_ex(ret: int, msg: object) -> Error:
    """The exception for an answer `-errno` (either sign) to the call that `msg` names.

    An answer beyond `MAX_ERRNO` is that of a comparison, and says where it fails.
    """
    number = abs(ret)
    if number > MAX_ERRNO:
        return ExtendMismatch(msg, number, number - MAX_ERRNO)
    return _OF_ERRNO.get(number, OSError)(msg, errno=number)


class asking(AbstractContextManager["asking"]):
    """What the store raises within becomes the exception that the real module raises for it.

    `what` names the call, as the real module does. CowshedError becomes the class of its errno, and keeps its
    sentence as the cause; nothing else of Cowshed's ever leaves.
    """

    _ERRNOS: ClassVar[dict[int, int]] = {
        # What cowshed tells apart and a cluster does not.
        _errno.ENOKEY: _errno.EACCES,
        _errno.EPROTONOSUPPORT: _errno.EINVAL,
        _errno.ENOTEMPTY: _errno.EBUSY,
        _errno.EUCLEAN: _errno.EIO,
        _errno.EBADMSG: _errno.EINVAL,
    }

    def __init__(self, what: str) -> None:
        self._what = what

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(value, CowshedError):
            raise make_ex(self._ERRNOS.get(value.errno, value.errno), self._what) from value


def name_text(value: object, name: str, *, opt: bool = False) -> str:
    """An argument that must be a text; TypeError as the real module says it. With `opt`, None is ""."""
    if isinstance(value, str):
        return value
    if value is None:
        if opt:
            return ""
        raise TypeError(f"{name} must be a string")
    raise TypeError(f"Argument '{name}' has incorrect type (expected str, got {type(value).__name__})")


def name_bytes(value: object, name: str) -> bytes:
    """As `name_text`, for bytes."""
    if isinstance(value, bytes):
        return value
    if value is None:
        raise TypeError(f"{name} must be bytes")
    raise TypeError(f"Argument '{name}' has incorrect type (expected bytes, got {type(value).__name__})")


def whole(value: object, kind: str = "uint64_t") -> int:
    """As `name_text`, for numbers that are not below 0; `kind` is what C calls them."""
    if not isinstance(value, int):
        raise TypeError("an integer is required")
    if value < 0:
        raise OverflowError(f"can't convert negative value to {kind}")
    return value
