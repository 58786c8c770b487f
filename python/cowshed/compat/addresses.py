"""Addresses as a cluster has them: `mon_host` in a ceph.conf, `ip:port/nonce` in what a monitor answers."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from cowshed.errors import InvalidArgument

DEFAULT_PORT = 6789
"""A monitor's, where none is named."""
_ADDRESS = re.compile(
    r"(?:(?:v1|v2|any):)?(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[^\]]+)?)\]|(?P<host>[A-Za-z0-9._-]+))"
    r"(?::(?P<port>[0-9]{1,5}))?(?:/[0-9]+)?",
    re.ASCII,
)
_CLIENT = re.compile(
    r"(?:(?:v1|v2|any):)?(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<host>[0-9.]+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+))"
    r"(?:(?<!:):(?P<port>[0-9]{1,9}))?",
    re.ASCII,
)
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""What a daemon that listens everywhere is bound to, and where it is found on its own machine."""


@dataclass(frozen=True, slots=True)
class MonAddress:
    """Where a daemon listens that plays the monitor."""

    host: str
    port: int

    def __str__(self) -> str:
        """`ip:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_mon_host(text: str) -> list[MonAddress]:
    """The addresses of a `mon_host`, in order, each once. Raises InvalidArgument.

    They stand as `HOST[:PORT][/NONCE]`, with `v1:` or `v2:` in front if need be, apart by commas, semicolons
    or spaces; those of one monitor may be in brackets: `[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]`.
    """
    found: dict[MonAddress, None] = {}
    for word in _words(text):
        match = _ADDRESS.fullmatch(word)
        port = int(match["port"] or DEFAULT_PORT) if match else 0
        if match is None or not 0 < port < 1 << 16:
            raise InvalidArgument(
                f"mon_host {text!r} holds {word!r}, which is no address", hint="write IP:PORT"
            )
        found[MonAddress(match["six"] or match["host"], port)] = None
    if not found:
        raise InvalidArgument("mon_host names no address", hint="write IP:PORT")
    return list(found)


def is_client_address(text: str) -> bool:
    """Whether a cluster would read this as a client's address: `[v1:]IP[:PORT]` and whatever follows."""
    match = _CLIENT.match(text)
    if match is None:
        return False
    try:
        ip_address(match["six"] or match["host"])
    except ValueError:
        return False
    return int(match["port"] or 0) < 1 << 16


def _words(text: str) -> Iterator[str]:
    """The addresses apart. A bracket opens an IPv6 address, or the addresses of one monitor."""
    for word in re.split(r"[\s,;]+", text):
        # Of `[v2:a:1` and `v1:a:2]` the bracket goes; of `[::1]:6789` it stays.
        if re.match(r"\[(v[12]|any):", word):
            word = word[1:]
        if word.count("]") > word.count("["):
            word = word.removesuffix("]")
        if word:
            yield word


def reachable(addresses: Iterable[str]) -> list[MonAddress]:
    """Where clients find a daemon that says that it listens at `tcp:HOST:PORT`."""
    found = []
    for text in addresses:
        host, _, port = text.removeprefix("tcp:").rpartition(":")
        host = host.strip("[]")
        found.append(MonAddress(_own_address(host) if host in _ANYWHERE else host, int(port)))
    return found


def _own_address(anywhere: str) -> str:
    """The address by which this machine is known to others, or to itself where it knows no others."""
    family, far = (socket.AF_INET6, "2001:db8::1") if ":" in anywhere else (socket.AF_INET, "192.0.2.1")
    try:
        # Nothing is sent: a datagram socket that is connected only chooses its route.
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return _ANYWHERE[anywhere]
