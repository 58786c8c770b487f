"""All sockets that a daemon listens at: those that it makes, and those that the service manager passed.

Unix sockets are for whoever the file system lets in. TCP is for TLS, or for a loopback address where the
operator said so; that holds for passed sockets as for its own.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cowshed.errors import AlreadyExists, Busy, CowshedError, InvalidArgument, PermissionDenied, from_os_error
from cowshed.serve.settings import Address, Settings
from cowshed.wire import sockets

PASSED: Final = ("control", "nbd", "rest")
"""What the service manager may pass, by FileDescriptorName=."""
_BACKLOG: Final = 128


class Listeners:
    """The sockets of one daemon, by what is served there. A passed one stands in for the default one.

    Made by the owner of the store's lock. Use as a context manager: the end takes their paths away.
    """

    def __init__(self, settings: Settings, passed: Mapping[str, Sequence[socket.socket]]) -> None:
        """Raises InvalidArgument for a passed socket that may not be served so, and what making raises.

        A daemon of TCP has its certificate by now, its own or the operator's.
        """
        self._made: list[UnixListener] = []
        self.control: list[socket.socket] = []
        self.nbd: list[socket.socket] = []
        """Unix sockets."""
        self.nbd_tcp: list[socket.socket] = []
        self.api: list[socket.socket] = []
        """TCP, for holders of tokens."""
        try:
            self._take(settings, passed)
            self._make(settings)
            self.control_addresses = self._where(self.control)
            self.nbd_addresses = self._where((*self.nbd, *self.nbd_tcp))
            self.api_addresses = self._where(self.api)
        except BaseException:
            for one in (one for group in passed.values() for one in group):
                one.close()
            self.close()
            raise

    def _take(self, settings: Settings, passed: Mapping[str, Sequence[socket.socket]]) -> None:
        for one in passed["control"]:
            if one.family != socket.AF_UNIX:
                # Whoever gets in there is trusted with everything.
                raise InvalidArgument("the passed socket 'control' must be a Unix socket")
            self.control.append(one)
        for one in passed["nbd"]:
            if one.family == socket.AF_UNIX:
                self.nbd.append(one)
            else:
                _check_passed(settings, one, "nbd")
                self.nbd_tcp.append(one)
        for one in passed["rest"]:
            _check_passed(settings, one, "rest")
            self.api.append(one)

    def _make(self, settings: Settings) -> None:
        if not self.control:
            self.control.append(self._unix(settings.control_socket, settings.group))
        if not self.nbd:
            self.nbd.append(self._unix(settings.nbd_socket, settings.group))
        if settings.nbd_listen:
            self.nbd_tcp.append(tcp_listener(settings.nbd_listen))
        if settings.listen:
            self.api.append(tcp_listener(settings.listen))

    def _unix(self, path: str, group: int | None) -> socket.socket:
        made = UnixListener(path, group=group)
        self._made.append(made)
        return made.socket

    def _where(self, listening: Iterable[socket.socket]) -> tuple[str, ...]:
        """As NBD clients and people write it: `unix:PATH` or `tcp:HOST:PORT`."""
        # A long path was bound by another name.
        made = {each.socket: each.path for each in self._made}
        return tuple(
            f"unix:{made.get(one) or os.fsdecode(one.getsockname())}"
            if one.family == socket.AF_UNIX
            else f"tcp:{Address(*one.getsockname()[:2])}"
            for one in listening
        )

    def close(self) -> None:
        """Close all that are still open here, and take away what was made. Does not raise."""
        for listener in self._made:
            listener.remove()
        for one in (*self.control, *self.nbd, *self.nbd_tcp, *self.api):
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_passed(settings: Settings, passed: socket.socket, label: str) -> None:
    if passed.family not in (socket.AF_INET, socket.AF_INET6):
        raise InvalidArgument(f"the passed socket {label!r} must be a TCP socket")
    if settings.lacks_certificate:
        raise InvalidArgument(
            f"the passed socket {label!r} needs TLS: tokens and disks could be read on the way"
        )
    name = passed.getsockname()
    settings.check_tcp(Address(name[0], name[1]), f"the passed socket {label!r}")


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


def tcp_listener(where: Address) -> socket.socket:
    """A listening TCP socket. Raises what `from_os_error` makes."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise from_os_error(error, f"listening on {where}") from None
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise from_os_error(error, f"listening on {where}") from None
    return made
