"""What all parts of `Image` stand on: one open image, found by its id, and the snapshot that is chosen."""

from __future__ import annotations

import errno
import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from cowshed.compat.rbd.errors import InvalidArgument
from cowshed.compat.rbd.translating import answering, make_error
from cowshed.errors import NotFound, ReadOnly
from cowshed.store import ImageSpec, ImageStat, SnapshotInfo, SnapSpec

if TYPE_CHECKING:
    from cowshed.compat.scope import Scope
    from cowshed.store import Image as StoreImage

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Opened")


def answered(doing: str) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """For each public method: not on a closed image, and no error but librbd's comes out of it.

    `doing` is what its errors say before the image, as "error reading from"; or with places for it and for
    arguments, as "error removing snapshot {name} from {image}".
    """

    def decorate(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        named = inspect.signature(method) if "{" in doing else None

        @functools.wraps(method)
        def wrapper(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            self.require_not_closed()
            if named is None:
                message = f"{doing} image {self._called!r}"
            else:
                # Too many or too few arguments are left to the call itself.
                given = named.bind_partial(self, *args, **kwargs).arguments
                given = dict.fromkeys(named.parameters, None) | given
                named_so = {name: shown(value) for name, value in given.items()}
                message = doing.format(**named_so, image=repr(self._called))
            with answering(message):
                return method(self, *args, **kwargs)

        return wrapper

    return decorate


def shown(value: object) -> str:
    """As the real module writes an argument: text as bytes."""
    return repr(value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value)


class Opened:
    """An image stays open under its id, whatever it is called meanwhile."""

    _scope: Scope
    _id: str
    _called: bytes | str
    """What the user named it by: for messages."""
    _read_only: bool
    _closed: bool = True
    _head: StoreImage | None = None
    """The image itself: for a read-only one opened when first needed, else from the start, as a watcher."""
    _snap: SnapshotInfo | None = None
    """The snapshot that is chosen; None: the image itself."""
    _frozen: StoreImage | None = None
    """That snapshot, opened when first needed."""
    _at_opening: ImageStat | None = None
    """What was found when it was opened read-only."""

    def require_not_closed(self) -> None:
        """Checks if the image is not closed. Raises InvalidArgument; OSError in a forked process."""
        if self._closed:
            raise InvalidArgument("image is closed")
        if not self._scope.home.is_here:
            raise make_error(
                errno.ENOTCONN,
                f"image {self._called!r} was opened by process {self._scope.home.pid}, which this one was"
                " forked from; connect anew",
            )

    def _spec(self) -> ImageSpec:
        """What it is asked for by, whatever it is called now: its id, which holds in the trash, too."""
        return ImageSpec(self._scope.pool, self._scope.namespace, self._id, by_id=True)

    def _chosen(self) -> ImageSpec | SnapSpec:
        """The image, or the snapshot that is chosen."""
        spec = self._spec()
        return spec.at(self._snap.name) if self._snap else spec

    def _stat(self) -> ImageStat:
        """Of the image itself."""
        return self._scope.store.stat(self._spec())

    def _settled(self) -> ImageStat:
        """As `_stat`, for what does not change, and the features: of what is open read-only librbd watches
        nothing, and knows them as they were when it was opened.
        """
        return self._at_opening or self._stat()

    def _disk(self) -> StoreImage:
        """What is read: the snapshot that is chosen, or the image."""
        if self._snap is None:
            if self._head is None:
                self._head = self._scope.store.open(self._spec(), read_only=self._read_only, cached=False)
            return self._head
        if self._frozen is None:
            self._frozen = self._scope.store.open(self._spec(), snapshot_id=self._snap.id, cached=False)
        return self._frozen

    def _writable(self) -> StoreImage:
        """The image, for writing. Raises ReadOnly for one that was opened so, and with a snapshot."""
        if self._read_only or self._snap is not None:
            raise self._not_writable()
        return self._disk()

    def _changeable(self) -> ImageSpec:
        """What a change of the image is made to. Raises ReadOnly as `_writable`."""
        if self._read_only or self._snap is not None:
            raise self._not_writable()
        return self._spec()

    def _open_for_changes(self) -> ImageSpec:
        """As `_changeable`, for changes that a chosen snapshot does not hinder: those of snapshots."""
        if self._read_only:
            raise self._not_writable()
        return self._spec()

    def _not_writable(self) -> ReadOnly:
        return ReadOnly(f"image {self._called!r} is open read-only, or to a snapshot")

    def _snapshots(self) -> list[SnapshotInfo]:
        """All of them, those of groups and of the trash included."""
        return self._scope.store.snapshots(self._spec(), all_namespaces=True)

    def _by_name(self, name: str) -> SnapshotInfo:
        """The user's snapshot of that name. Raises NotFound."""
        for snap in self._snapshots():
            if snap.namespace == "user" and snap.name == name:
                return snap
        raise NotFound(f"image {self._called!r} has no snapshot {name!r}")

    def _by_id(self, snap_id: int) -> SnapshotInfo:
        """The snapshot with that id, in any namespace. Raises NotFound."""
        for snap in self._snapshots():
            if snap.id == snap_id:
                return snap
        raise NotFound(f"image {self._called!r} has no snapshot with the id {snap_id}")

    def _choose(self, snap: SnapshotInfo | None) -> None:
        frozen, self._frozen = self._frozen, None
        self._snap = snap
        if frozen is not None:
            frozen.close()

    def _pool_id(self, name: str) -> int:
        for pool in self._scope.store.pools():
            if pool.name == name:
                return pool.id
        raise NotFound(f"no pool {name!r}")
