"""The exceptions of the module `rbd`: librbd's own classes, each with the errno that librbd answered."""

from __future__ import annotations

from typing import ClassVar


class Error(Exception):
    """The root of all that this module raises by itself."""


class OSError(Error):
    """An answer with an errno; itself for those errnos that have no class of their own.

    `errno` is positive, or None where the call was refused before anyone was asked.
    """

    _said: ClassVar[str] = "{}"

    def __init__(self, message: object, errno: int | None = None) -> None:
        self.message = message
        self.errno = errno
        super().__init__(self._said.format(message))

    def __str__(self) -> str:
        said = super().__str__()
        return said if self.errno is None else f"[errno {self.errno}] {said}"

    def __reduce__(self) -> tuple[type[OSError], tuple[object, int | None]]:
        return type(self), (self.message, self.errno)


class PermissionError(OSError):
    _said = "RBD permission error ({})"


class ImageNotFound(OSError):
    _said = "RBD image not found ({})"


class ObjectNotFound(OSError):
    _said = "RBD object not found ({})"


class ImageExists(OSError):
    _said = "RBD image already exists ({})"


class ObjectExists(OSError):
    _said = "RBD object already exists ({})"


class IOError(OSError):
    _said = "RBD I/O error ({})"


class NoSpace(OSError):
    _said = "RBD insufficient space available ({})"


class IncompleteWriteError(OSError):
    _said = "RBD incomplete write ({})"


class InvalidArgument(OSError):
    _said = "RBD invalid argument ({})"


class LogicError(OSError):
    _said = "RBD logic error ({})"


class ReadOnlyImage(OSError):
    _said = "RBD read-only image ({})"


class ImageBusy(OSError):
    _said = "RBD image is busy ({})"


class ImageHasSnapshots(OSError):
    _said = "RBD image has snapshots ({})"


class FunctionNotSupported(OSError):
    _said = "RBD function not supported ({})"


class ArgumentOutOfRange(OSError):
    _said = "RBD arguments out of range ({})"


class ConnectionShutdown(OSError):
    _said = "RBD connection was shutdown ({})"


class Timeout(OSError):
    _said = "RBD operation timeout ({})"


class DiskQuotaExceeded(OSError):
    _said = "RBD disk quota exceeded ({})"


class OperationNotSupported(OSError):
    _said = "RBD operation not supported ({})"


class OperationCanceled(OSError):
    _said = "RBD operation canceled ({})"
