"""Unix sockets whose paths are longer than the 107 bytes that the system takes.

A path is reached through its directory, which is opened and named `/proc/self/fd/N`.
"""

# Importing pathlib would cost a command more than connecting does.
# ruff: noqa: PTH101

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from cowshed.errors import InvalidArgument

_LONGEST = 107


@contextmanager
def short(path: str) -> Iterator[str]:
    """A name of `path` that `bind` and `connect` take, as long as the block lasts.

    Raises InvalidArgument if the last part alone is too long; OSError if its directory cannot be opened.
    """
    if len(os.fsencode(path)) <= _LONGEST:
        yield path
        return
    directory, name = os.path.split(path)
    descriptor = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        shorter = f"/proc/self/fd/{descriptor}/{name}"
        if len(os.fsencode(shorter)) > _LONGEST:
            raise InvalidArgument(f"the name of the socket {path!r} is too long", hint="choose a shorter one")
        yield shorter
    finally:
        os.close(descriptor)


def connect(path: str, timeout: float | None = None) -> socket.socket:
    """A connection to the socket at `path`. Raises OSError, InvalidArgument."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(timeout)
        with short(path) as name:
            made.connect(name)
    except BaseException:
        made.close()
        raise
    return made


def bind(path: str, *, mode: int = 0o600) -> socket.socket:
    """A socket bound at `path`, which must be free; no one else can connect before it has its mode.

    Raises OSError, InvalidArgument.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Linux gives the file the socket's own mode less the umask, so it is never wider than `mode`.
        os.fchmod(made.fileno(), mode)
        with short(path) as name:
            made.bind(name)
            os.chmod(name, mode)
    except BaseException:
        made.close()
        raise
    return made
