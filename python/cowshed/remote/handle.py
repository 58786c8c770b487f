"""An image that this client has open, as its daemon keeps it: a handle."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import NoneType
from typing import TYPE_CHECKING, TypeVar

from cowshed.errors import IOFailure, NotFound, UnsupportedTarget
from cowshed.refusals import translated
from cowshed.remote.calls import Calls
from cowshed.remote.endpoint import TcpEndpoint
from cowshed.store.spec import ImageSpec, SnapSpec, parse_spec
from cowshed.wire.answers import DiffPage, HandleInfo, HandleLock
from cowshed.wire.http import API

if TYPE_CHECKING:
    from cowshed._kernel import NbdClient

K = TypeVar("K")


class Handle:
    """Made by opening, ended by `close`; and by the daemon, when nobody is connected to its export."""

    __slots__ = ("_calls", "_export", "_path", "image_id", "read_only", "spec")

    def __init__(
        self,
        calls: Calls,
        spec: ImageSpec | SnapSpec,
        read_only: bool,
        snapshot_id: int | None,
        cached: bool = True,
    ) -> None:
        body = {"spec": str(spec), "read_only": read_only, "snapshot_id": snapshot_id}
        if not cached:
            body["cached"] = False
        info = calls.ask(HandleInfo, "POST", f"{API}/handles", body=body)
        self._calls = calls
        self._export = info.export or ""
        self._path = f"{API}/handles/{info.id}"
        self.spec = parse_spec(info.spec)
        self.image_id = info.image_id
        self.read_only = info.read_only

    @property
    def export(self) -> str:
        """The name of its NBD export, a secret: whoever knows it can use the disk."""
        return self._export

    def connect(self) -> NbdClient:
        """A new connection to its bytes. Raises UnsupportedTarget where there is no way, IOFailure …"""
        from cowshed._kernel import KernelError

        endpoint = self._calls.endpoint
        try:
            return self._over_tcp(endpoint) if isinstance(endpoint, TcpEndpoint) else self._over_unix()
        except KernelError as error:
            refusal = translated(error)
            if isinstance(refusal, NotFound):
                self._check_alive()
            if error.kind != "io" or not isinstance(endpoint, TcpEndpoint) or endpoint.certificate:
                raise refusal from None
            # A server hangs up on who shows no certificate, and says nothing.
            raise IOFailure(
                str(error),
                hint="if the daemon wants certificates (--tls-client-ca), give ?cert=FILE&key=FILE",
            ) from None

    def _over_unix(self) -> NbdClient:
        from cowshed._kernel import NbdClient

        for way in self._calls.info.nbd:
            if way.startswith("unix:"):
                return NbdClient.connect(way, self._export)
        raise UnsupportedTarget(
            f"{self._calls.endpoint} serves no disks", hint="start it with --nbd-socket PATH"
        )

    def _over_tcp(self, endpoint: TcpEndpoint) -> NbdClient:
        from cowshed._kernel import ClientTls, NbdClient

        for way in self._calls.info.nbd:
            if way.startswith("tcp:"):
                host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
                tls = None
                if endpoint.tls:
                    tls = ClientTls(
                        ca=endpoint.ca,
                        fingerprint=endpoint.fingerprint,
                        certificate=endpoint.certificate,
                        key=endpoint.key,
                    )
                return NbdClient.connect(f"tcp:{host}:{way.rpartition(':')[2]}", self._export, tls=tls)
        raise UnsupportedTarget(
            f"{endpoint} serves disks to its own machine only", hint="start it with --nbd-listen HOST:PORT"
        )

    def size(self) -> int:
        """The image's size now. Raises StaleHandle where it was removed."""
        return self._ask(HandleInfo, "GET").size

    def lock(self) -> HandleLock:
        """Who holds the image's exclusive lock."""
        return self._ask(HandleLock, "GET", "/lock")

    def acquire(self, *, automatic: bool = False) -> None:
        """Take the exclusive lock, as `Image.lock_acquire`."""
        self._ask(NoneType, "POST", "/lock", query={"automatic": str(automatic).lower()})

    def release(self) -> None:
        """Let it go."""
        self._ask(NoneType, "DELETE", "/lock")

    def break_owner(self, cookie: str) -> None:
        """Take it from the one with that cookie."""
        self._ask(NoneType, "POST", "/lock/break", body={"cookie": cookie})

    def diff(self, from_snapshot: str | None, offset: int, length: int | None, own: bool) -> DiffPage:
        """The first piece of a diff, as `Image.diff`."""
        query = {"from_snapshot": from_snapshot, "offset": offset, "length": length}
        if own:
            query["own"] = "true"
        return self._ask(DiffPage, "GET", "/diff", query=query)

    def close(self, *, written: bool = False) -> None:
        """End it; `written` says whether the image was. One that has ended already is let be."""
        with suppress(NotFound):
            self._calls.ask(NoneType, "DELETE", self._path, query={"written": str(written).lower()})

    def _ask(
        self,
        kind: type[K],
        method: str,
        part: str = "",
        *,
        query: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
    ) -> K:
        try:
            return self._calls.ask(kind, method, self._path + part, query=query, body=body)
        except NotFound:
            self._check_alive()
            raise

    def _check_alive(self) -> None:
        """Raises IOFailure if it was this handle that was not found."""
        try:
            self._calls.ask(HandleInfo, "GET", self._path)
        except NotFound:
            raise lost_handle(self.spec) from None


def lost_handle(spec: ImageSpec | SnapSpec) -> IOFailure:
    """The daemon knows nothing of an opening that this side has."""
    return IOFailure(
        f"the connection to {str(spec)!r} is lost: its daemon was started anew, or heard nothing of it",
        hint="open it again",
    )
