"""Clones, copies, and what is done to a whole image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from cowshed.compat.rbd import arguments
from cowshed.compat.rbd.arguments import text, unsigned
from cowshed.compat.rbd.layout import Layout
from cowshed.compat.rbd.opened import Opened, answered
from cowshed.compat.rbd.progress import OnProgress, following
from cowshed.compat.rbd.translating import make_error
from cowshed.store import ChildInfo, ImageSpec
from cowshed.store.features import check_new

_MUTABLE = ("exclusive-lock", "object-map", "fast-diff", "journaling")
_REMOVABLE = (*_MUTABLE, "deep-flatten")


class Child(TypedDict):
    pool: str
    pool_namespace: str
    image: str
    id: str
    trash: bool


class Clones(Opened):
    """`on_progress(done, total)` is called as work goes on."""

    @answered("error flattening {image}")
    def flatten(self, on_progress: OnProgress | None = None) -> None:
        """Drop the link to the parent; nothing is copied. Raises InvalidArgument without a parent."""
        if self._snap is not None and self._stat().parent is None:
            raise make_error(22, f"error flattening {self._called!r}")
        told = following(on_progress, f"error flattening {self._called!r}")
        self._scope.store.flatten(self._changeable(), progress=told)

    @answered("error copying")
    def copy(
        self,
        dest_ioctx: object,
        dest_name: str,
        features: int | None = None,
        order: int | None = None,
        stripe_unit: int | None = None,
        stripe_count: int | None = None,
        data_pool: str | None = None,
    ) -> None:
        """A new image with the content and metadata of this, or of the snapshot that is chosen.

        Raises TypeError, InvalidArgument, ImageExists, ArgumentOutOfRange.
        """
        asked = Layout.of(features, order, stripe_unit, stripe_count, data_pool)
        target, striping, wanted = self._prepared(dest_ioctx, dest_name, asked)
        self._scope.store.copy(self._chosen(), target, order=asked.order or None, striping=striping)
        self._switch(target, wanted)

    @answered("error deep copying")
    def deep_copy(
        self,
        dest_ioctx: object,
        dest_name: str,
        features: int | None = None,
        order: int | None = None,
        stripe_unit: int | None = None,
        stripe_count: int | None = None,
        data_pool: str | None = None,
    ) -> None:
        """As `copy`, with snapshots and parent."""
        asked = Layout.of(features, order, stripe_unit, stripe_count, data_pool)
        target, striping, wanted = self._prepared(dest_ioctx, dest_name, asked)
        self._scope.store.deep_copy(self._chosen(), target, order=asked.order or None, striping=striping)
        self._switch(target, wanted)

    def _prepared(
        self, ioctx: object, name: str, asked: Layout
    ) -> tuple[ImageSpec, tuple[int, int] | None, tuple[str, ...] | None]:
        """A copy's name, striping and features (None: the source's), checked."""
        scope = arguments.scope(ioctx)
        named = text(name, "dest_name")
        if scope.store is not self._scope.store and scope.store.target != self._scope.store.target:
            raise make_error(95, f"error copying image {self._called!r} to another store")
        message = f"error copying image {self._called!r} to {named!r}"
        source = self._stat() if asked.spread else None
        asked.check_after(source, scope, message)
        wanted = None if asked.features is None else check_new(asked.features_for(scope, message) or ())
        return ImageSpec(scope.pool, scope.namespace, named), asked.striping_after(source), wanted

    def _switch(self, target: ImageSpec, features: tuple[str, ...] | None) -> None:
        """Give a copy the features that were asked for, as far as they can be switched."""
        if features is None:
            return
        wanted, has = set(features), set(self._scope.store.stat(target).features)
        for change, enabled in ((has - wanted, False), (wanted - has, True)):
            names = [name for name in (_MUTABLE if enabled else _REMOVABLE) if name in change]
            if names:
                self._scope.store.update_features(target, names, enabled)

    @answered("error sparsifying")
    def sparsify(self, sparse_size: int) -> None:
        """Give back the space of zeros. `sparse_size` is a power of two, from 4096 to the object size."""
        size = unsigned(sparse_size)
        spec = self._changeable()
        if size < 4096 or size & (size - 1) or size > self._stat().object_size:
            raise make_error(22, f"error sparsifying image {self._called!r}")
        self._scope.store.sparsify(spec)

    @answered("error rebuilding object map for")
    def rebuild_object_map(self) -> None:
        """Does nothing: there is no map to be wrong. Raises InvalidArgument without the feature."""
        self._changeable()
        if "object-map" not in self._stat().features:
            raise make_error(22, f"error rebuilding object map for image {self._called!r}")

    @answered("error listing children of")
    def list_children(self) -> list[tuple[str, str]]:
        """(pool, image) of each clone of the snapshot that is chosen, or of all; none in the trash."""
        return [(child.pool, child.image) for child in self._children() if not child.trash]

    @answered("error listing children of")
    def list_children2(self) -> ChildIterator:
        return ChildIterator(self)

    @answered("error listing descendants of")
    def list_descendants(self) -> ChildIterator:
        return ChildIterator(self, True)

    def _children(self) -> list[ChildInfo]:
        """Clones of what is chosen. A snapshot in the trash is known to them by the name that it had."""
        if self._snap is None or self._snap.namespace == "user":
            return self._scope.store.children(self._chosen())
        name = self._snap.original_name or self._snap.name
        live = {snap.name for snap in self._snapshots() if snap.namespace == "user"}
        found = self._scope.store.children(self._spec())
        return [child for child in found if child.snapshot == name and name not in live]


class ChildIterator:
    """`pool`, `pool_namespace`, `image`, `id`, `trash` of each clone, and of its own with `descendants`."""

    def __init__(self, image: Clones, descendants: bool = False) -> None:
        image.require_not_closed()
        store = image._scope.store
        found = store.descendants(image._chosen()) if descendants else image._children()
        self._children: list[Child] = [
            {
                "pool": child.pool,
                "pool_namespace": child.namespace,
                "image": child.image,
                "id": child.id,
                "trash": child.trash,
            }
            for child in found
        ]

    def __iter__(self) -> Iterator[Child]:
        yield from self._children
