"""Where a daemon is: the socket beside a store on this machine, or `cowshed://HOST:PORT` on another.

    cowshed://HOST:PORT[?ca=FILE|fingerprint=HEX][&token-file=FILE][&cert=FILE&key=FILE][&insecure=yes]

`ca` holds the certificates to trust instead of the system's; `fingerprint` is the SHA-256 of the daemon's
own certificate, which alone is trusted then, whatever name it bears. The token is the content of
`token-file`, or of the environment's COWSHED_TOKEN. `cert` and `key` are the client's own, for a daemon that
asks for them where disks are. `insecure` leaves out TLS, on this machine only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from cowshed.errors import InvalidArgument, from_os_error

_SYNTAX = "it is cowshed://HOST:PORT[?ca=FILE&token-file=FILE]"
_OPTIONS = {"ca", "fingerprint", "token-file", "cert", "key", "insecure"}
FINGERPRINT_BYTES = 32
_TOKEN = "COWSHED_TOKEN"


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A daemon's control socket."""

    target: str
    """The store's path, for people."""
    socket: str

    def __str__(self) -> str:
        return f"the daemon of {self.target!r}"


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A daemon that listens for HTTP."""

    target: str
    host: str
    port: int
    tls: bool = True
    ca: str | None = None
    token: str | None = field(default=None, repr=False)
    certificate: str | None = None
    key: str | None = None
    fingerprint: bytes | None = None
    """The SHA-256 of the one certificate that is trusted; None: whatever the authorities signed."""

    def __str__(self) -> str:
        return f"the daemon at {self.host}:{self.port}"


Endpoint = UnixEndpoint | TcpEndpoint


def parse_endpoint(target: str) -> TcpEndpoint:
    """The endpoint that a `cowshed://` target names. Raises InvalidArgument, and NotFound for its files."""
    from urllib.parse import parse_qsl, urlsplit

    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
        options = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError as error:
        raise InvalidArgument(f"cannot read the target {target!r}: {error}", hint=_SYNTAX) from None
    if not host or not port:
        raise InvalidArgument(f"the target {target!r} names no {'port' if host else 'host'}", hint=_SYNTAX)
    if parts.username is not None or parts.path not in ("", "/") or parts.fragment:
        raise InvalidArgument(f"the target {target!r} holds more than host and port", hint=_SYNTAX)
    if unknown := sorted(options.keys() - _OPTIONS):
        raise InvalidArgument(f"the target {target!r} has the option {unknown[0]!r}", hint=_SYNTAX)
    insecure = options.get("insecure", "no")
    if insecure not in ("yes", "no"):
        raise InvalidArgument(f"'insecure' is yes or no, and not {insecure!r}")
    if insecure == "yes":
        need_this_machine(host, hint="leave out insecure=yes")
    if ("cert" in options) != ("key" in options):
        raise InvalidArgument(f"the target {target!r} names only one of 'cert' and 'key'")
    if "fingerprint" in options and ("ca" in options or insecure == "yes"):
        raise InvalidArgument(
            f"the target {target!r} names a fingerprint and {'a ca' if 'ca' in options else 'insecure=yes'}",
            hint="give one of them",
        )
    return TcpEndpoint(
        target=f"cowshed://{parts.netloc}",
        host=host,
        port=port,
        tls=insecure == "no",
        ca=_present(options.get("ca")),
        token=_token(options.get("token-file")),
        certificate=_present(options.get("cert")),
        key=_present(options.get("key")),
        fingerprint=_fingerprint(options.get("fingerprint")),
    )


def need_this_machine(host: str, *, hint: str) -> None:
    """Raises InvalidArgument where `host` is not this machine, so that TLS cannot be left out."""
    if not _is_this_machine(host):
        raise InvalidArgument(
            f"{host} is another machine: without TLS all on the way could read along, and write", hint=hint
        )


def _fingerprint(text: str | None) -> bytes | None:
    """From hexadecimal, with or without colons."""
    if text is None:
        return None
    try:
        found = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        found = b""
    if len(found) != FINGERPRINT_BYTES:
        raise InvalidArgument(
            f"{text!r} is no certificate's fingerprint", hint="it is a SHA-256: 64 hexadecimal digits"
        )
    return found


def _is_this_machine(host: str) -> bool:
    from ipaddress import ip_address

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _present(path: str | None) -> str | None:
    """A file that can be read; libraries that miss one would not say which."""
    if path is not None:
        try:
            open(path, "rb").close()  # noqa: PTH123
        except OSError as error:
            raise from_os_error(error, f"reading {path!r}") from None
    return path


def _token(path: str | None) -> str | None:
    if path is None:
        token = os.environ.get(_TOKEN, "").strip()
    else:
        try:
            with open(path) as file:  # noqa: PTH123
                token = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            if isinstance(error, OSError):
                raise from_os_error(error, f"reading the token {path!r}") from None
            raise InvalidArgument(f"{path!r} holds no token") from None
    if not token.isprintable() or not token.isascii() or " " in token:
        raise InvalidArgument(f"{path or _TOKEN} holds no token: a token is one printable word")
    return token or None
