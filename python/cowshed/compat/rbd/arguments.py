"""What the real module takes as an argument, and how it refuses the rest."""

from __future__ import annotations

import errno
from typing import Literal, overload

from cowshed.compat.rbd.errors import InvalidArgument, OSError
from cowshed.compat.scope import Scope, scope_of

_MAX_UINT64 = (1 << 64) - 1


@overload
def text(value: object, name: str, opt: Literal[False] = ...) -> str: ...


@overload
def text(value: object, name: str, opt: bool) -> str | None: ...


def text(value: object, name: str, opt: bool = False) -> str | None:
    """A text, as str or UTF-8 bytes; with `opt` None, too. Raises InvalidArgument naming the argument."""
    if value is None and opt:
        return None
    try:
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, str):
            value.encode()
            return value
    except UnicodeError:
        raise InvalidArgument(f"{name} is not valid UTF-8", errno=errno.EINVAL) from None
    raise InvalidArgument(f"{name} must be a string")


def integer(value: object) -> int:
    """A number, of whatever kind. Raises TypeError."""
    if isinstance(value, int):
        return value
    convert = getattr(value, "__int__", None)
    if convert is None or isinstance(value, str | bytes):
        raise TypeError("an integer is required")
    return int(convert())


def unsigned(value: object) -> int:
    """A number of 64 bits without a sign. Raises TypeError, OverflowError."""
    number = integer(value)
    if number < 0:
        raise OverflowError("can't convert negative value to uint64_t")
    if number > _MAX_UINT64:
        raise OverflowError("Python int too large to convert to C unsigned long")
    return number


def scope(ioctx: object) -> Scope:
    """Where the calls of an Ioctx go. Raises TypeError for what is none, OSError in a forked process."""
    found = scope_of(ioctx)
    if not found.home.is_here:
        raise OSError(
            f"the connection belongs to process {found.home.pid}, which this one was forked from; connect"
            " anew",
            errno=errno.ENOTCONN,
        )
    return found
