"""The Unix sockets that the daemon makes in a store (or wherever it was told), and takes away again."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from cowshed.errors import AlreadyExists, Busy, CowshedError, PermissionDenied, from_os_error
from cowshed.wire import sockets

_BACKLOG = 128


class UnixListener:
    """A listening Unix socket at a path of any length, for the owner and perhaps one group.

    To be made by the owner of the store's lock only: what a daemon that is gone has left at the path is
    removed. It is not removed if something still answers there.

    Raises Busy when something answers, AlreadyExists when something other than a socket lies there, and
    what `from_os_error` makes.
    """

    def __init__(self, path: str, *, group: int | None = None) -> None:
        self.path = path
        try:
            _remove_stale(path)
            self.socket = sockets.bind(path)
        except OSError as error:
            raise from_os_error(error, f"making the socket {path!r}") from None
        self._identity = _identity(path)
        try:
            self._admit(group)
            self.socket.listen(_BACKLOG)
        except CowshedError:
            self.remove()
            raise
        except OSError as error:
            self.remove()
            raise from_os_error(error, f"making the socket {path!r}") from None

    def _admit(self, group: int | None) -> None:
        if group is None:
            return
        try:
            os.chown(self.path, -1, group)
        except PermissionError:
            raise PermissionDenied(
                f"this user cannot give {self.path!r} to the group", hint="join the group, or name another"
            ) from None
        Path(self.path).chmod(0o660)

    def remove(self) -> None:
        """Close it, and take its path away if that is still this socket's. Does not raise."""
        with suppress(OSError):
            if self._identity is not None and _identity(self.path) == self._identity:
                Path(self.path).unlink()
        self.socket.close()


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).lstat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _remove_stale(path: str) -> None:
    try:
        found = Path(path).lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise AlreadyExists(f"{path!r} is there and is no socket", hint="remove it, or choose another path")
    try:
        sockets.connect(path, 1.0).close()
    except (ConnectionRefusedError, FileNotFoundError):
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        # A full backlog, a refusal to this user: someone may well be there.
        raise Busy(
            f"something may still serve {path!r}: {error.strerror or error}", hint="choose another path"
        ) from None
    else:
        raise Busy(f"something else serves {path!r}", hint="stop it, or choose another path")


def tcp_listener(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises what `from_os_error` makes."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise from_os_error(error, f"listening on {host}:{port}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise from_os_error(error, f"listening on {host}:{port}") from None
    return made
