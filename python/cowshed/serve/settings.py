"""What the operator decides about a daemon: from a TOML file and the command line, which wins.

`SETTINGS` is the one list of names; the verb's options, the file's keys and the table in docs/serve.md are
made from it or held to it. Every refusal is one sentence and says which setting it is about.
"""

from __future__ import annotations

import grp
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from cowshed.errors import InvalidArgument, NotFound, from_os_error

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
CONTROL_SOCKET = "daemon.sock"
"""In the store: where clients look for its daemon."""
NBD_SOCKET = "nbd.sock"

Kind = Literal["path", "address", "size", "seconds", "flag", "word", "text"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: `name` as on the command line (without `--`) and in the file."""

    name: str
    kind: Kind
    metavar: str
    help: str
    words: tuple[str, ...] = ()

    @property
    def field(self) -> str:
        """Its name in `Settings`."""
        return self.name.replace("-", "_")


SETTINGS = (
    Setting("nbd-socket", "path", "PATH", "The Unix socket for NBD. Default: nbd.sock in the store."),
    Setting("nbd-listen", "address", "HOST:PORT", "Serve NBD over TCP too, with TLS."),
    Setting(
        "nbd-hidden",
        "flag",
        "",
        "Do not list the images to NBD clients: they must know the names of their exports.",
    ),
    Setting("listen", "address", "HOST:PORT", "Serve the API over TCP too, with TLS, to holders of tokens."),
    Setting(
        "tls-cert",
        "path",
        "FILE",
        "The certificate (PEM, with its chain) for TCP. Default: one that the daemon makes for itself.",
    ),
    Setting("tls-key", "path", "FILE", "The certificate's key (PEM, without a password)."),
    Setting(
        "tls-client-ca",
        "path",
        "FILE",
        "NBD over TCP: clients must show a certificate that this authority (PEM) signed.",
    ),
    Setting("insecure", "flag", "", "Allow TCP without TLS on a loopback address."),
    Setting("group", "text", "NAME", "Let this group use the Unix sockets too. Default: the owner alone."),
    Setting("cache", "size", "SIZE", "Memory for the cache of metadata pages. Default: 256M."),
    Setting(
        "drain",
        "seconds",
        "SECONDS",
        "How long work in flight may take to end after SIGTERM. Default: 10.",
    ),
    Setting(
        "log-format", "word", "", "How events are written to stderr. Default: text.", get_args(LogFormat)
    ),
    Setting("log-level", "word", "", "The least event that is written. Default: info.", get_args(LogLevel)),
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen on TCP. Port 0 is any that is free."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a daemon is told; checked, with defaults filled in. Paths are absolute."""

    store: str
    control_socket: str
    nbd_socket: str
    nbd_listen: Address | None = None
    nbd_hidden: bool = False
    listen: Address | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    insecure: bool = False
    group: int | None = None
    """The group's number."""
    cache: int = 256 << 20
    """Bytes."""
    drain: float = 10.0
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"

    @property
    def tls(self) -> tuple[str, str] | None:
        """Certificate and key, where there are any."""
        return (self.tls_cert, self.tls_key) if self.tls_cert and self.tls_key else None

    @property
    def named_exports_over_tcp(self) -> bool:
        """Whether NBD clients over TCP may name images: only where something says who they are.

        Without, TCP is for the handles that the API gives out, whose names cannot be guessed.
        """
        if self.tls:
            return self.tls_client_ca is not None
        return self.insecure

    def check_tcp(self, address: Address, what: str) -> None:
        """Raises InvalidArgument unless `what` may listen at `address`, once there is a certificate."""
        if self.insecure and not self.tls and not address.loopback:
            raise InvalidArgument(
                f"{what} {address} needs TLS: --insecure is for loopback addresses only",
                hint="leave out --insecure: the daemon makes a certificate for itself",
            )

    @property
    def lacks_certificate(self) -> bool:
        """Whether TCP is to be encrypted, and the operator gave no certificate for it."""
        return not self.tls and not self.insecure


def load(store: str, given: Mapping[str, Any], *, config: str | None = None) -> Settings:
    """The settings for a daemon of `store`; `given` has the command line's, None for what was not said.

    Raises InvalidArgument, NotFound for a file that is not there, and what `from_os_error` makes.
    """
    values: dict[str, Any] = {}
    if config is not None:
        values.update(_from_file(config))
    by_field = {setting.field: setting for setting in SETTINGS}
    for field, value in given.items():
        if value is not None:
            setting = by_field[field]
            values[field] = _parsed(setting, value, f"--{setting.name}", Path.cwd())
    directory = os.path.abspath(store)  # noqa: PTH100 - `..` and links as opening.open takes them
    settings = Settings(
        store=directory,
        control_socket=str(Path(directory, CONTROL_SOCKET)),
        **{"nbd_socket": str(Path(directory, NBD_SOCKET)), **values},
    )
    _check(settings)
    return settings


def _from_file(path: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(Path(path).read_text())
    except FileNotFoundError:
        raise NotFound(f"no configuration file at {path!r}") from None
    except OSError as error:
        raise from_os_error(error, f"reading {path!r}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path!r} is not TOML: {error}") from None
    base = Path(path).absolute().parent
    known = {setting.name: setting for setting in SETTINGS}
    values = {}
    for name, value in document.items():
        setting = known.get(name)
        if setting is None:
            import difflib

            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it may hold: {', '.join(known)}"
            raise InvalidArgument(f"{path!r} has an unknown setting {name!r}", hint=hint)
        values[setting.field] = _parsed(setting, value, f"{name!r} in {path!r}", base)
    return values


def _parsed(setting: Setting, value: object, where: str, base: Path) -> object:
    """The value of a setting, of the type that `Settings` has; `where` names it in a complaint."""
    if setting.kind == "flag":
        if not isinstance(value, bool):
            raise InvalidArgument(f"{where} must be true or false, not {value!r}")
        return value
    if setting.kind == "seconds":
        # bool is an int in Python, and not meant.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86400:
            raise InvalidArgument(f"{where} must be a number of seconds from 0 to 86400, not {value!r}")
        return float(value)
    if setting.kind == "size":
        return _size(value, where)
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"{where} must be a text in quotes, not {value!r}")
    if setting.kind == "path":
        return os.path.abspath(base / Path(value).expanduser())  # noqa: PTH100
    if setting.kind == "address":
        return _address(value, where)
    if setting.kind == "word":
        if value not in setting.words:
            raise InvalidArgument(f"{where} must be one of {', '.join(setting.words)}, not {value!r}")
        return value
    assert setting.name == "group"
    return _group(value, where)


def _size(value: object, where: str) -> int:
    found = re.fullmatch(r"([0-9]{1,12})\s*([KMGT]?)(i?B)?", str(value).strip(), re.ASCII | re.IGNORECASE)
    if isinstance(value, bool) or found is None:
        raise InvalidArgument(f"{where} must be a size such as 256M or 4G, not {value!r}")
    size = int(found[1]) << (" KMGT".index(found[2].upper()) * 10 if found[2] else 0)
    if not 1 << 20 <= size < 1 << 50:
        raise InvalidArgument(f"{where} must be from 1M to under 1024T, not {value!r}")
    return size


def _address(value: str, where: str) -> Address:
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise InvalidArgument(f"{where}: write an IPv6 address in brackets: [{host}]:{port}")
    if not colon or not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise InvalidArgument(f"{where} must be HOST:PORT, not {value!r}", hint="for example 0.0.0.0:7180")
    return Address(host, int(port))


def _group(value: str, where: str) -> int:
    try:
        return grp.getgrnam(value).gr_gid
    except KeyError:
        if value.isascii() and value.isdecimal():
            return int(value)
        raise InvalidArgument(f"{where}: there is no group {value!r} on this machine") from None


def _check(settings: Settings) -> None:
    """Refuse combinations that cannot be meant. Raises InvalidArgument."""
    if bool(settings.tls_cert) != bool(settings.tls_key):
        missing = "tls-key" if settings.tls_cert else "tls-cert"
        raise InvalidArgument(f"--{missing} is missing: a certificate and its key go together")
    if settings.tls_client_ca and settings.insecure and not settings.tls:
        raise InvalidArgument("--tls-client-ca needs TLS", hint="leave out --insecure")
    if settings.nbd_socket == settings.control_socket:
        raise InvalidArgument("--nbd-socket cannot be the control socket", hint="choose another path")
    if settings.listen:
        settings.check_tcp(settings.listen, "--listen")
    if settings.nbd_listen:
        settings.check_tcp(settings.nbd_listen, "--nbd-listen")
    for name in ("tls_cert", "tls_key", "tls_client_ca"):
        path = getattr(settings, name)
        if path is not None and not Path(path).is_file():
            raise InvalidArgument(f"--{name.replace('_', '-')}: there is no file {path!r}")


assert {setting.field for setting in SETTINGS} <= {field.name for field in fields(Settings)}
