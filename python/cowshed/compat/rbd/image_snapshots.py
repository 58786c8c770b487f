"""Snapshots of an open image."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from cowshed.compat.rbd import constants
from cowshed.compat.rbd.arguments import integer, text, unsigned
from cowshed.compat.rbd.opened import Opened, answered
from cowshed.compat.rbd.translating import make_error
from cowshed.errors import InvalidArgument, NotFound
from cowshed.store import GroupSpec, SnapshotInfo

_UNLIMITED = (1 << 64) - 1
_NAMESPACES = {
    "user": constants.RBD_SNAP_NAMESPACE_TYPE_USER,
    "group": constants.RBD_SNAP_NAMESPACE_TYPE_GROUP,
    "trash": constants.RBD_SNAP_NAMESPACE_TYPE_TRASH,
}
_CREATE_FLAGS = constants.RBD_SNAP_CREATE_SKIP_QUIESCE | constants.RBD_SNAP_CREATE_IGNORE_QUIESCE_ERROR


class Snapshots(Opened):
    """Those that are named are the user's own; by id those of groups and of the trash are found, too."""

    @answered("error creating snapshot {name} from {image}")
    def create_snap(self, name: str, flags: int = 0) -> None:
        """Raises ImageExists, DiskQuotaExceeded beyond the limit. Flags about quiescing are taken."""
        name = text(name, "name")
        if integer(flags) & ~_CREATE_FLAGS:
            raise InvalidArgument(f"flags {flags} are not known")
        self._scope.store.create_snapshot(self._open_for_changes().at(name))

    @answered("error renaming snapshot of {image} from {srcname} to {dstname}")
    def rename_snap(self, srcname: str, dstname: str) -> None:
        """Raises ImageNotFound, ImageExists."""
        old, new = text(srcname, "srcname"), text(dstname, "dstname")
        spec = self._open_for_changes()
        self._scope.store.rename_snapshot(spec.at(old), spec.at(new))
        if self._snap and self._snap.name == old:
            self._snap = self._by_id(self._snap.id)

    @answered("error removing snapshot {name} from {image}")
    def remove_snap(self, name: str) -> None:
        """Raises ImageNotFound, ImageBusy when it is protected. One with clones of format 2 stays for them,
        out of sight, in the trash namespace.
        """
        name = text(name, "name")
        self._scope.store.remove_snapshot(self._open_for_changes().at(name))

    @answered("error removing snapshot {name} from {image} with flags {flags}")
    def remove_snap2(self, name: str, flags: int) -> None:
        """As `remove_snap`; flags (RBD_SNAP_REMOVE_…) unprotect it and flatten its clones before."""
        name, flags = text(name, "name"), unsigned(flags)
        at = self._open_for_changes().at(name)
        store = self._scope.store
        if flags & constants.RBD_SNAP_REMOVE_FLATTEN:
            for child in store.children(at):
                if not child.trash:
                    store.flatten(str(child))
        if flags & constants.RBD_SNAP_REMOVE_UNPROTECT and self._by_name(name).protected:
            store.unprotect_snapshot(at)
        store.remove_snapshot(at)

    @answered("error removing snapshot {snap_id} from {image}")
    def remove_snap_by_id(self, snap_id: int) -> None:
        """Raises ImageNotFound, ImageBusy; that, too, for one in the trash that clones hold."""
        snap = self._by_id(unsigned(snap_id))
        spec = self._open_for_changes()
        if snap.namespace != "user":
            raise make_error(16 if snap.namespace == "trash" else 22, f"error removing snapshot {snap.id}")
        self._scope.store.remove_snapshot(spec.at(snap.name))

    @answered("error rolling back image {image} to snapshot {name}")
    def rollback_to_snap(self, name: str) -> None:
        """Give the image the content and size of the snapshot; at once, whatever the size."""
        name = text(name, "name")
        self._scope.store.rollback(self._changeable().at(name))

    @answered("error protecting snapshot {image}@{name}")
    def protect_snap(self, name: str) -> None:
        """Raises ImageNotFound, ImageBusy when it is protected already."""
        name = text(name, "name")
        self._scope.store.protect_snapshot(self._open_for_changes().at(name))

    @answered("error unprotecting snapshot {image}@{name}")
    def unprotect_snap(self, name: str) -> None:
        """Raises ImageNotFound, InvalidArgument when it is not protected, ImageBusy when clones of format 1
        hold it.
        """
        name = text(name, "name")
        self._scope.store.unprotect_snapshot(self._open_for_changes().at(name))

    @answered("error checking if snapshot {image}@{name} is protected")
    def is_protected_snap(self, name: str) -> bool:
        return self._by_name(text(name, "name")).protected

    @answered("error getting snapshot limit for")
    def get_snap_limit(self) -> int:
        """2^64 - 1: no limit."""
        limit = self._scope.store.snapshot_limit(self._spec())
        return _UNLIMITED if limit is None else limit

    @answered("error setting snapshot limit for {image}")
    def set_snap_limit(self, limit: int) -> int:
        """Returns 0. Raises an OSError (ERANGE) for fewer than there are."""
        limit = unsigned(limit)
        spec = self._changeable()
        if limit < len(self._snapshots()):
            raise make_error(34, f"error setting snapshot limit for {self._called!r}")
        self._scope.store.set_snapshot_limit(spec, None if limit == _UNLIMITED else limit)
        return 0

    @answered("error removing snapshot limit for")
    def remove_snap_limit(self) -> int:
        """Returns 0."""
        self._scope.store.set_snapshot_limit(self._changeable(), None)
        return 0

    @answered("error getting snapshot timestamp of")
    def get_snap_timestamp(self, snap_id: int) -> datetime.datetime:
        """In UTC, without a zone."""
        return moment(self._by_id(unsigned(snap_id)).created)

    @answered("error setting image {image} to snapshot {name}")
    def set_snap(self, name: str | None) -> None:
        """Read from a snapshot from now on, and refuse writes; None: the image itself again."""
        named = text(name, "name", opt=True)
        self._choose(None if named is None else self._by_name(named))

    @answered("error setting image {image} to snapshot {snap_id}")
    def set_snap_by_id(self, snap_id: int | None) -> None:
        """As `set_snap`, in any namespace."""
        self._choose(None if snap_id is None else self._by_id(unsigned(snap_id)))

    @answered("error getting snapshot of")
    def snap_exists(self, name: str) -> bool:
        try:
            self._by_name(text(name, "name"))
        except NotFound:
            return False
        return True

    @answered("error getting snapshot name of")
    def snap_get_name(self, snap_id: int) -> str:
        return self._by_id(unsigned(snap_id)).name

    @answered("error getting snapshot id of")
    def snap_get_id(self, snap_name: str) -> int:
        return self._by_name(text(snap_name, "snap_name")).id

    @answered("error getting snapshot namespace type of")
    def snap_get_namespace_type(self, snap_id: int) -> int:
        """RBD_SNAP_NAMESPACE_TYPE_…"""
        return _NAMESPACES[self._by_id(unsigned(snap_id)).namespace]

    @answered("error getting snapshot group namespace of")
    def snap_get_group_namespace(self, snap_id: int) -> dict[str, Any]:
        """`pool`, `name`, `snap_name`. Raises InvalidArgument for what is no part of a group's snapshot."""
        group = self._group_of(self._in_namespace(snap_id, "group"))
        if group is None:
            raise make_error(2, f"error getting snapshot group namespace of image {self._called!r}")
        return group

    @answered("error getting snapshot trash namespace of")
    def snap_get_trash_namespace(self, snap_id: int) -> dict[str, Any]:
        """`original_name`. Raises InvalidArgument for what is not in the trash."""
        return {"original_name": self._in_namespace(snap_id, "trash").original_name}

    @answered("error getting snapshot mirror namespace of")
    def snap_get_mirror_namespace(self, snap_id: int) -> dict[str, Any]:
        """Raises InvalidArgument: nothing is mirrored."""
        self._in_namespace(snap_id, "mirror")
        raise AssertionError("no snapshot is there")

    @answered("error listing snapshots of")
    def list_snaps(self) -> SnapIterator:
        return SnapIterator(self)

    def _in_namespace(self, snap_id: int, namespace: str) -> SnapshotInfo:
        snap = self._by_id(unsigned(snap_id))
        if snap.namespace != namespace:
            raise make_error(22, f"error getting snapshot {namespace} namespace of image {self._called!r}")
        return snap

    def _group_of(self, snap: SnapshotInfo) -> dict[str, Any] | None:
        if snap.group is None:
            return None
        spec, _, part = snap.group.rpartition("@")
        group = GroupSpec.parse(spec)
        return {"pool": self._pool_id(group.pool), "name": group.group, "snap_name": part}


class SnapIterator:
    """`id`, `size`, `name`, `namespace` of each; with `group` or `trash` for those that these keep."""

    def __init__(self, image: Snapshots) -> None:
        image.require_not_closed()
        self._snaps = [_described(image, snap) for snap in image._snapshots()]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self._snaps


def _described(image: Snapshots, snap: SnapshotInfo) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": snap.id,
        "size": snap.size,
        "name": snap.name,
        "namespace": _NAMESPACES[snap.namespace],
    }
    if snap.namespace == "trash":
        found["trash"] = {"original_name": snap.original_name}
    elif snap.namespace == "group":
        found["group"] = image._group_of(snap)
    return found


def moment(seconds: float) -> datetime.datetime:
    """A time as the module has them: UTC, whole seconds, without a zone."""
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC).replace(tzinfo=None)
