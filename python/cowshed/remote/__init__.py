"""The remote engine: a store that a daemon serves, on this machine or another.

Control goes by HTTP (`calls.py` over `http.py`), what is on the disks by NBD (`image.py`).
"""

from __future__ import annotations

from cowshed.errors import IOFailure
from cowshed.remote.calls import Calls
from cowshed.remote.endpoint import TcpEndpoint, UnixEndpoint, parse_endpoint
from cowshed.remote.http import Http
from cowshed.remote.store import RemoteStore

__all__ = ["RemoteStore", "connect", "discover", "reach"]


def connect(target: str) -> RemoteStore:
    """The store behind a `cowshed://HOST:PORT`. Raises IOFailure, UnsupportedTarget, NotAuthenticated …"""
    return reach(parse_endpoint(target))


def reach(endpoint: TcpEndpoint) -> RemoteStore:
    """The store behind an endpoint. Raises as `connect`."""
    return RemoteStore(Calls(Http(endpoint)))


def discover(path: str, socket: str) -> RemoteStore | None:
    """The store at `path` through the daemon that listens at `socket`; None where none does.

    Raises PermissionDenied where this user may not use it, UnsupportedTarget where it is of another version.
    """
    http = Http(UnixEndpoint(path, socket))
    if not http.dial():
        return None
    try:
        return RemoteStore(Calls(http))
    except IOFailure as error:
        if isinstance(error.__cause__, ConnectionError):
            return None  # it has just gone, or is about to
        raise
