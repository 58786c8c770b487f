"""The NBD server that an image is reached through: a Unix socket, or a host and a port."""

# Importing pathlib would cost the command more than all the rest of it.
# ruff: noqa: PTH100, PTH110, PTH113, PTH118

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from cowshed.errors import InvalidArgument, IOFailure, NotFound, PermissionDenied

SOCKET = "nbd.sock"
"""In the store's directory, unless the daemon was told otherwise."""
PORT = 10809
"""NBD's own, where an address names none."""
LONGEST_SOCKET = 107
"""Bytes in the path of a Unix socket, for programs that know no way around that."""
_SYNTAX = "write unix:PATH or tcp:HOST:PORT"
_PLACE = re.compile(r"(\[(?P<bracketed>[^\[\]]+)\]|(?P<host>[^:\[\]]+))(:(?P<port>[^:]+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Server:
    """Where an NBD server listens. `path` is set or `host`, never both."""

    path: str = ""
    host: str = ""
    port: int = 0
    tls: str = ""
    """A directory with the files of `Tls`, where the server wants TLS."""

    @property
    def address(self) -> str:
        """`unix:PATH` or `tcp:HOST:PORT`."""
        return f"unix:{self.path}" if self.path else f"tcp:{self.bracketed}:{self.port}"

    @property
    def bracketed(self) -> str:
        """The host as it stands before a port."""
        return f"[{self.host}]" if ":" in self.host else self.host

    def __str__(self) -> str:
        return self.path or f"{self.bracketed}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """The files for TLS, in a directory laid out as qemu has it."""

    ca: str
    certificate: str | None
    """The client's own, with `key`: where the server asks for one."""
    key: str | None


def parse_server(text: str) -> Server:
    """The server of `unix:PATH` or `tcp:HOST[:PORT]`. Raises InvalidArgument."""
    kind, _, rest = text.partition(":")
    if kind == "unix" and rest:
        return Server(path=os.path.abspath(rest))
    found = _PLACE.fullmatch(rest) if kind == "tcp" else None
    if found is None:
        raise InvalidArgument(f"'{text}' is no address of an NBD server", hint=_SYNTAX)
    host, port = found["bracketed"] or found["host"], found["port"] or str(PORT)
    if not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 1 << 16:
        raise InvalidArgument(f"'{port}' is no port", hint="a port is a number from 1 to 65535")
    return Server(host=host, port=int(port))


def server_of(target: str) -> Server:
    """The server of the daemon that serves the store at the path `target`.

    Raises NotFound where none listens, PermissionDenied, InvalidArgument for a target that is no path.
    """
    scheme, colon, _ = target.partition("://")
    if colon and scheme.isalnum():
        raise InvalidArgument(
            f"where the NBD server of '{target}' listens is not known", hint="give --nbd tcp:HOST:PORT"
        )
    return reachable(Server(path=os.path.join(os.path.abspath(target), SOCKET)), target)


def reachable(server: Server, target: str) -> Server:
    """The server itself, if something listens at its socket; a server elsewhere is not asked."""
    if not server.path:
        return server
    # The layers below know sockets at long paths; this one only asks whether it is worth to begin.
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        directory, name = os.path.split(server.path)
        try:
            folder = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                probe.connect(f"/proc/self/fd/{folder}/{name}")
            finally:
                os.close(folder)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise NotFound(
                f"no daemon serves '{target}': nothing listens at {server.path}",
                hint=f"`cowshed --store {target} serve` starts one; --nbd names a socket elsewhere",
            ) from None
        except PermissionError:
            raise PermissionDenied(
                f"you may not use the daemon's socket {server.path}", hint="be root, or of its group"
            ) from None
        except OSError as error:
            raise IOFailure(f"connecting to {server.path}: {error.strerror or error}") from None
    return server


def with_tls(server: Server, directory: str | None) -> Server:
    """The server, reached by TLS where a directory with its files is given. Raises as `tls_files`."""
    if directory is None:
        return server
    if server.path:
        raise InvalidArgument("a Unix socket needs no TLS", hint="leave out --tls-dir")
    server = replace(server, tls=os.path.abspath(directory))
    tls_files(server)
    return server


def tls_files(server: Server) -> Tls | None:
    """The files for TLS with this server, None where it is reached without. Raises NotFound."""
    if not server.tls:
        return None
    ca, certificate, key = (
        os.path.join(server.tls, name) for name in ("ca-cert.pem", "client-cert.pem", "client-key.pem")
    )
    for path in (ca, *((key,) if os.path.exists(certificate) else ())):
        if not os.path.isfile(path):
            raise NotFound(
                f"there is no file '{path}'",
                hint="--tls-dir holds ca-cert.pem, and client-cert.pem with client-key.pem if asked for",
            )
    own = os.path.isfile(certificate)
    return Tls(ca, certificate if own else None, key if own else None)
