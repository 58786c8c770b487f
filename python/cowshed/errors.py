"""Every error that cowshed raises on purpose: one tree, one errno, exit code and HTTP status each.

The lowest layer: everything may import it, and it imports nothing of cowshed. `docs/errors.md` is
generated from the classes below (scripts/errors_page). A message says what was asked and what is the
matter; the hint, where there is one, says what to do.
"""

from __future__ import annotations

import errno as _errno
from typing import ClassVar


class CowshedError(Exception):
    """The root of the tree; raised itself only for what has no class of its own.

    `exit_code` is the errno, as rbd(8) exits, but for Interrupted.
    """

    errno: ClassVar[int] = _errno.EIO
    exit_code: ClassVar[int] = _errno.EIO
    http_status: ClassVar[int] = 500
    meaning: ClassVar[str] = "Something failed that has no class of its own."

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "errno" in cls.__dict__ and "exit_code" not in cls.__dict__:
            cls.exit_code = cls.errno

    def __str__(self) -> str:
        """The message and, in brackets, the hint."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


# --- what was asked cannot be done on this object


class NotFound(CowshedError):
    errno = _errno.ENOENT
    http_status = 404
    meaning = "The store, pool, image, snapshot or file that was named does not exist."


class AlreadyExists(CowshedError):
    errno = _errno.EEXIST
    http_status = 409
    meaning = "The name is taken already."


class NotEmpty(CowshedError):
    errno = _errno.ENOTEMPTY
    http_status = 409
    meaning = "It still holds other things: an image its snapshots, a pool its images."


class Busy(CowshedError):
    errno = _errno.EBUSY
    http_status = 409
    meaning = "It is protected or in use, and stays so until somebody changes that."


class InGroup(CowshedError):
    # rbd's own choice: it tells this from what is busy.
    errno = _errno.EMLINK
    http_status = 409
    meaning = "The image belongs to a group, and must be taken out of it first."


class NotPermitted(CowshedError):
    errno = _errno.EPERM
    http_status = 403
    meaning = "Refused by a rule that an option can overrule: an image in the trash before its time is over."


class QuotaExceeded(CowshedError):
    errno = _errno.EDQUOT
    http_status = 409
    meaning = "A limit that was set is reached: an image's number of snapshots."


class TooLarge(CowshedError):
    errno = _errno.EFBIG
    http_status = 413
    meaning = "A small object, one of its attributes or values, or a change of it is beyond its bound."


class Mismatch(CowshedError):
    errno = _errno.ECANCELED
    http_status = 412
    meaning = "A change of an object was made to depend on what is there, and something else is."

    def __init__(self, message: str, *, hint: str | None = None, offset: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.offset = offset
        """Where data was compared: the first byte that is another one, counted from where it was to be."""


class ReadOnly(CowshedError):
    errno = _errno.EROFS
    http_status = 403
    meaning = "A write to a snapshot, or to an image that was opened read-only."


class StaleHandle(CowshedError):
    errno = _errno.ESTALE
    http_status = 410
    meaning = "The image or snapshot was removed while it was open."


class Closed(CowshedError):
    errno = _errno.EBADF
    http_status = 410
    meaning = "The store or image was used after it was closed."


class Forked(CowshedError):
    errno = _errno.ENOTCONN
    http_status = 410
    meaning = "The store or image was opened by the process that this one was forked from; open it anew."


# --- what was asked can never be done


class InvalidArgument(CowshedError):
    errno = _errno.EINVAL
    http_status = 400
    meaning = "An argument that can never work: a bad name, size, range or combination."


class UnsupportedTarget(InvalidArgument):
    errno = _errno.EPROTONOSUPPORT
    http_status = 400
    meaning = "No engine of this cowshed serves such a target."


class FormatError(CowshedError):
    errno = _errno.EBADMSG
    http_status = 422
    meaning = "Bytes from outside (a diff, an image file) are damaged, cut short or not of the format named."


# --- the store


class StoreLocked(CowshedError):
    # EAGAIN and not EBUSY: as with flock(2), the same call may succeed later with nothing changed by hand.
    errno = _errno.EAGAIN
    http_status = 503
    meaning = "Another process owns the store; try again when it is done, or go through its daemon."


class NoSpace(CowshedError):
    errno = _errno.ENOSPC
    http_status = 507
    meaning = "The file system that holds the store (or the output) is full."


class IOFailure(CowshedError):
    errno = _errno.EIO
    http_status = 500
    meaning = "The operating system reported an error while reading or writing."


class StoreDamaged(CowshedError):
    errno = _errno.EUCLEAN
    http_status = 500
    meaning = "What is on disk contradicts itself; `cowshed check` lists what."


class UnsupportedFormat(CowshedError):
    errno = _errno.EOPNOTSUPP
    http_status = 501
    meaning = "The store was made by another cowshed: a newer one, or one from before the first release."


# --- the caller and the other side


class PermissionDenied(CowshedError):
    errno = _errno.EACCES
    http_status = 403
    meaning = "The operating system does not allow it to this user, or the daemon to this token."


class NotAuthenticated(CowshedError):
    errno = _errno.ENOKEY
    http_status = 401
    meaning = "The daemon does not know who asks: there is no token, or not one that it knows."


class Disconnected(CowshedError):
    errno = _errno.EPIPE
    http_status = 499
    meaning = "Whoever was to read the output went away."


class Interrupted(CowshedError):
    errno = _errno.EINTR
    exit_code = 130  # 128 + SIGINT, as shells and their users know it
    http_status = 499
    meaning = "Stopped on request; what was committed stays, and nothing is half done."


_OF_ERRNO: dict[int | None, type[CowshedError]] = {
    _errno.ENOENT: NotFound,
    _errno.EEXIST: AlreadyExists,
    _errno.EACCES: PermissionDenied,
    _errno.EPERM: PermissionDenied,
    _errno.EROFS: ReadOnly,
    _errno.ENOSPC: NoSpace,
    _errno.EDQUOT: NoSpace,
    _errno.EFBIG: NoSpace,
    _errno.EPIPE: Disconnected,
    _errno.EISDIR: InvalidArgument,
    _errno.ENOTDIR: InvalidArgument,
    _errno.ENAMETOOLONG: InvalidArgument,
}


def from_os_error(error: OSError, what: str) -> CowshedError:
    """The member of the tree for what the operating system said while doing `what` ("reading x.raw")."""
    return _OF_ERRNO.get(error.errno, IOFailure)(f"{what}: {error.strerror or error}")
