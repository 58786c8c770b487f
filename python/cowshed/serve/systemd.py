"""The service manager's side: sockets that it passes on, and the few words that it wants to hear.

Both are a few lines each, so there is no library: the sockets come as file descriptors from 3 on, described
by environment variables (sd_listen_fds(3)); the words go as datagrams to a Unix socket (sd_notify(3)). Any
service manager that knows them will do. Where there is none, nothing here does anything.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, MutableMapping

from cowshed.errors import InvalidArgument

_FIRST_FD = 3


class Notifier:
    """Tells the service manager how the daemon is. A manager that does not listen is no error."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Takes what it needs out of `environment`, so that children of this process do not speak for it."""
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = _watchdog_seconds(environment)
        """How often `alive` must be said at the least; None where no one waits for it."""

    @property
    def listening(self) -> bool:
        """Whether there is someone to tell."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """All sockets answer now; also said when a reload is done."""
        self._send("READY=1", f"STATUS={_one_line(status)}")

    def reloading(self) -> None:
        """The settings are read again; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """The end has begun."""
        self._send("STOPPING=1", f"STATUS={_one_line(status)}")

    def status(self, status: str) -> None:
        """A line for `systemctl status`."""
        self._send(f"STATUS={_one_line(status)}")

    def alive(self) -> None:
        """Keeps the watchdog quiet."""
        self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> None:
        """Asks for this much more time to stop, from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
            speaker.settimeout(1.0)
            try:
                speaker.connect(self._address)
                speaker.sendall("\n".join(lines).encode())
            except OSError:
                # A manager that restarts does not hear this one; the daemon's own work goes on.
                pass


def _watchdog_seconds(environment: MutableMapping[str, str]) -> float | None:
    microseconds = environment.pop("WATCHDOG_USEC", "")
    pid = environment.pop("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 1e6


def _one_line(text: str) -> str:
    return " ".join(text.split())


def passed_sockets(
    environment: MutableMapping[str, str], names: Iterable[str], *, first: int = _FIRST_FD
) -> dict[str, list[socket.socket]]:
    """The listening sockets that the service manager passed, by their names; each of `names` has a list.

    Takes the variables out of `environment`. Raises InvalidArgument for a name that is not among `names`
    and for a descriptor that is no listening stream socket.
    """
    found: dict[str, list[socket.socket]] = {name: [] for name in names}
    pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    given = environment.pop("LISTEN_FDNAMES", "")
    if pid != str(os.getpid()) or not count.isdecimal():
        return found
    labels = given.split(":") if given else []
    for index in range(int(count)):
        label = labels[index] if index < len(labels) else ""
        if label not in found:
            raise InvalidArgument(
                f"the service manager passed a socket named {label!r}",
                hint=f"set FileDescriptorName= to one of: {', '.join(found)}",
            )
        found[label].append(_listening(first + index, label))
    return found


def _listening(fd: int, label: str) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        passed = socket.socket(fileno=fd)
        accepts = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise InvalidArgument(
            f"descriptor {fd} ({label!r}) from the service manager is no socket: {error.strerror}"
        ) from None
    if passed.type != socket.SOCK_STREAM or not accepts:
        passed.close()
        raise InvalidArgument(
            f"descriptor {fd} ({label!r}) from the service manager does not listen for connections",
            hint="use ListenStream= with Accept=no",
        )
    return passed
