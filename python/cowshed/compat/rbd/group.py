"""Groups of images: `Group`, its iterators, and the part of `RBD` that makes and lists them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from cowshed.compat.rbd.arguments import integer, scope, text
from cowshed.compat.rbd.constants import (
    RBD_GROUP_IMAGE_STATE_ATTACHED,
    RBD_GROUP_SNAP_STATE_COMPLETE,
    RBD_SNAP_CREATE_IGNORE_QUIESCE_ERROR,
    RBD_SNAP_CREATE_SKIP_QUIESCE,
)
from cowshed.compat.rbd.translating import OF_GROUPS, answering, make_error
from cowshed.compat.scope import Scope
from cowshed.errors import AlreadyExists, NotFound
from cowshed.store import GroupInfo, GroupSpec, ImageSpec

Text = str | bytes
_SNAP_FLAGS = RBD_SNAP_CREATE_SKIP_QUIESCE | RBD_SNAP_CREATE_IGNORE_QUIESCE_ERROR


class PoolGroups:
    """The part of `RBD` about a pool's groups."""

    def group_create(self, ioctx: object, name: Text) -> None:
        """Raises ObjectExists, InvalidArgument."""
        name = text(name, "name")
        where = scope(ioctx)
        with answering(f"error creating group {name.encode()!r}", OF_GROUPS):
            where.store.create_group(GroupSpec(where.pool, where.namespace, name))

    def group_remove(self, ioctx: object, name: Text) -> None:
        """With its snapshots; the images stay. A group that is not there is no error, as with librbd."""
        name = text(name, "name")
        where = scope(ioctx)
        with answering(f"error removing group {name.encode()!r}", OF_GROUPS):
            try:
                where.store.remove_group(GroupSpec(where.pool, where.namespace, name))
            except NotFound:
                where.store.groups(where.pool, where.namespace)

    def group_list(self, ioctx: object) -> list[str]:
        """Names of the groups."""
        where = scope(ioctx)
        with answering("error listing groups", OF_GROUPS):
            return where.store.groups(where.pool, where.namespace)

    def group_rename(self, ioctx: object, src: Text, dest: Text) -> None:
        """Raises ImageNotFound, ImageExists (the classes for images, as librbd), InvalidArgument."""
        src, dest = text(src, "src"), text(dest, "dest")
        where = scope(ioctx)
        with answering("error renaming group"):
            where.store.rename_group(
                GroupSpec(where.pool, where.namespace, src), GroupSpec(where.pool, where.namespace, dest)
            )


class Group:
    """A group by its name. That it exists is only looked at when it is used, as with librbd."""

    def __init__(self, ioctx: object, name: Text) -> None:
        self._name = text(name, "name")
        self._scope = scope(ioctx)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def add_image(self, image_ioctx: object, image_name: Text) -> None:
        """Nothing happens if it is in this group. Raises ObjectNotFound, ObjectExists if it is in another."""
        image_name = text(image_name, "image_name")
        where = scope(image_ioctx)
        with answering("error adding image to group", OF_GROUPS):
            image = ImageSpec(where.pool, where.namespace, image_name)
            try:
                self._scope.store.add_to_group(self._spec(), image)
            except AlreadyExists:
                if str(image) not in self._scope.store.group(self._spec()).images:
                    raise

    def remove_image(self, image_ioctx: object, image_name: Text) -> None:
        """Nothing happens if it is not in this group. Raises ObjectNotFound for group or image."""
        image_name = text(image_name, "image_name")
        where = scope(image_ioctx)
        with answering("error removing image from group", OF_GROUPS):
            image = ImageSpec(where.pool, where.namespace, image_name)
            try:
                self._scope.store.remove_from_group(self._spec(), image)
            except NotFound:
                self._scope.store.group(self._spec())
                where.store.stat(image)

    def list_images(self) -> GroupImageIterator:
        """The members."""
        return GroupImageIterator(self)

    def create_snap(self, snap_name: Text, flags: int = 0) -> None:
        """A snapshot of all members at one moment. Raises ObjectNotFound, ObjectExists, InvalidArgument."""
        message = "error creating group snapshot"
        snap_name = text(snap_name, "snap_name")
        if integer(flags) & ~_SNAP_FLAGS:
            raise make_error(errno.EINVAL, message, OF_GROUPS)
        with answering(message, OF_GROUPS):
            self._scope.store.create_group_snapshot(self._spec(), snap_name)

    def remove_snap(self, snap_name: Text) -> None:
        """Raises ObjectNotFound."""
        snap_name = text(snap_name, "snap_name")
        with answering("error removing group snapshot", OF_GROUPS):
            self._scope.store.remove_group_snapshot(self._spec(), snap_name)

    def rename_snap(self, old_snap_name: Text, new_snap_name: Text) -> None:
        """Raises ObjectNotFound, ObjectExists."""
        old, new = text(old_snap_name, "old_snap_name"), text(new_snap_name, "new_snap_name")
        with answering("error renaming group snapshot", OF_GROUPS):
            self._scope.store.rename_group_snapshot(self._spec(), old, new)

    def list_snaps(self) -> GroupSnapIterator:
        """The group's snapshots."""
        return GroupSnapIterator(self)

    def rollback_to_snap(self, name: Text) -> None:
        """Raises ObjectNotFound; InvalidArgument if the group has other members now."""
        name = text(name, "name")
        with answering("error rolling back group to snapshot", OF_GROUPS):
            self._scope.store.rollback_group(self._spec(), name)

    def _spec(self) -> GroupSpec:
        return GroupSpec(self._scope.pool, self._scope.namespace, self._name)

    def _found(self) -> tuple[Scope, GroupInfo | None]:
        """Where it is, and what it is; None: it is not there."""
        try:
            return self._scope, self._scope.store.group(self._spec())
        except NotFound:
            return self._scope, None


class GroupImageIterator:
    """Dicts of `name`, `pool` (its id) and `state`. Of a group that is not there: none."""

    def __init__(self, group: Group) -> None:
        with answering("error listing images for group", OF_GROUPS):
            where, found = group._found()
            images = [ImageSpec.parse(image) for image in found.images] if found else []
            ids = {pool.name: pool.id for pool in where.store.pools()} if images else {}
        self._images = [(image.image, ids.get(image.pool, -1)) for image in images]

    def __iter__(self) -> Iterator[dict[str, object]]:
        for name, pool in self._images:
            yield {"name": name, "pool": pool, "state": RBD_GROUP_IMAGE_STATE_ATTACHED}


class GroupSnapIterator:
    """Dicts of `name` and `state`. Of a group that is not there: none."""

    def __init__(self, group: Group) -> None:
        with answering("error listing snapshots for group", OF_GROUPS):
            _, found = group._found()
        self._names = [snapshot.name for snapshot in found.snapshots] if found else []

    def __iter__(self) -> Iterator[dict[str, object]]:
        for name in self._names:
            yield {"name": name, "state": RBD_GROUP_SNAP_STATE_COMPLETE}
