"""Groups of images, and their snapshots."""

from __future__ import annotations

import os

from cowshed.errors import AlreadyExists, InGroup, InvalidArgument, NotFound
from cowshed.local import keys, space
from cowshed.local.boundary import kernel_errors
from cowshed.local.catalog import Catalog, Change, View
from cowshed.local.clock import now
from cowshed.local.images import resized
from cowshed.local.part import Part
from cowshed.local.snapshots import check_limit
from cowshed.local.stored import StoredGroup, StoredGroupSnapshot, StoredImage, StoredSnapshot
from cowshed.store.groups import Groups
from cowshed.store.progress import Progress
from cowshed.store.records import GroupInfo, GroupSnapshotInfo
from cowshed.store.spec import GroupSpec, ImageSpec, as_group, as_image, check_name


class LocalGroups(Part, Groups):
    """The groups of a local store."""

    @kernel_errors
    def groups(self, pool: str, namespace: str = "") -> list[str]:
        self._catalog.place(pool, namespace)
        return [keys.last(key) for key, _ in self._catalog.scan(keys.group_names(pool, namespace))]

    @kernel_errors
    def create_group(self, spec: GroupSpec | str) -> None:
        spec = as_group(spec)

        def decide(change: Change) -> None:
            _check_free(change, spec)
            group_id = os.urandom(6).hex()
            group = StoredGroup(spec.pool, spec.namespace, spec.group, now())
            change.put(keys.group_name(spec.pool, spec.namespace, spec.group), group_id.encode())
            change.put(keys.group(group_id), group.encode())

        self._catalog.change(decide)

    @kernel_errors
    def group(self, spec: GroupSpec | str) -> GroupInfo:
        catalog, spec = self._catalog, as_group(spec)
        group_id, group = _group(catalog, spec)
        members = (catalog.image_by_id(image_id) for image_id in _members(catalog, group_id))
        specs = sorted(str(image.spec) for image in members if image is not None)
        snapshots = [_info(snapshot_id, snapshot) for snapshot_id, snapshot in _snapshots(catalog, group_id)]
        return GroupInfo(group_id, group.name, tuple(specs), tuple(snapshots))

    @kernel_errors
    def rename_group(self, spec: GroupSpec | str, new: GroupSpec | str) -> None:
        spec, new = as_group(spec), as_group(new)
        if (spec.pool, spec.namespace) != (new.pool, new.namespace):
            raise InvalidArgument(f"cannot rename {str(spec)!r} to {str(new)!r}: a group keeps its pool")

        def decide(change: Change) -> None:
            group_id, group = _group(change, spec)
            _check_free(change, new)
            change.delete(keys.group_name(spec.pool, spec.namespace, spec.group))
            change.put(keys.group_name(new.pool, new.namespace, new.group), group_id.encode())
            change.put(keys.group(group_id), group.changed(name=new.group).encode())

        self._catalog.change(decide)

    @kernel_errors
    def remove_group(self, spec: GroupSpec | str) -> None:
        catalog, spec = self._catalog, as_group(spec)

        def decide(change: Change) -> None:
            group_id, _ = _group(change, spec)
            dropped: dict[str, int] = {}
            for snapshot_id, snapshot in _snapshots(catalog, group_id):
                change.delete(keys.group_snapshot(group_id, snapshot_id))
                _drop_members(change, snapshot, dropped)
            for image_id in _members(catalog, group_id):
                change.delete(keys.member(group_id, image_id))
                dropped.setdefault(image_id, 0)
            _put_members(change, dropped, group=None)
            change.delete(keys.group_name(spec.pool, spec.namespace, spec.group))
            change.delete(keys.group(group_id))

        catalog.change(decide)

    @kernel_errors
    def add_to_group(self, spec: GroupSpec | str, image: ImageSpec | str) -> None:
        spec, image_spec = as_group(spec), as_image(image)

        def decide(change: Change) -> None:
            group_id, group = _group(change, spec)
            image_id, image = change.named_image(image_spec)
            if image.group:
                which = "this" if image.group == group_id else "another"
                raise AlreadyExists(f"image {str(image_spec)!r} is in {which} group already")
            change.put(keys.member(group_id, image_id), b"")
            change.put(keys.image(image_id), image.changed(group=group_id).encode())
            change.put(keys.group(group_id), group.changed().encode())

        self._catalog.change(decide)

    @kernel_errors
    def remove_from_group(self, spec: GroupSpec | str, image: ImageSpec | str) -> None:
        spec, image_spec = as_group(spec), as_image(image)

        def decide(change: Change) -> None:
            group_id, group = _group(change, spec)
            image_id, image = change.image(image_spec)
            if image.group != group_id:
                raise NotFound(f"image {str(image_spec)!r} is not in group {str(spec)!r}")
            change.delete(keys.member(group_id, image_id))
            change.put(keys.image(image_id), image.changed(group=None).encode())
            change.put(keys.group(group_id), group.changed().encode())

        self._catalog.change(decide)

    @kernel_errors
    def create_group_snapshot(self, spec: GroupSpec | str, name: str) -> GroupSnapshotInfo:
        catalog, spec = self._catalog, as_group(spec)
        check_name(name, "snapshot")

        def decide(change: Change) -> GroupSnapshotInfo:
            group_id, group = _group(change, spec)
            _check_snapshot_free(catalog, group_id, spec, name)
            # Ascending, as the images' own: the list is in the order of creation.
            snapshot_id = f"{group.revision:012x}"
            members = []
            for image_id in _members(catalog, group_id):
                image = _member(change, image_id)
                check_limit(image, str(image.spec))
                version = change.transaction.freeze(image.head)
                overlap = image.parent.overlap if image.parent else 0
                part = StoredSnapshot(
                    f".group.{group_id}_{snapshot_id}",
                    now(),
                    overlap=overlap,
                    namespace="group",
                    of=f"{group_id}/{snapshot_id}",
                )
                change.put(keys.snapshot(image_id, version), part.encode())
                change.put(keys.image(image_id), image.changed(snapshots=image.snapshots + 1).encode())
                members.append((image_id, version))
            snapshot = StoredGroupSnapshot(name, now(), tuple(members))
            change.put(keys.group_snapshot(group_id, snapshot_id), snapshot.encode())
            change.put(keys.group(group_id), group.changed().encode())
            return _info(snapshot_id, snapshot)

        return catalog.change(decide)

    @kernel_errors
    def rename_group_snapshot(self, spec: GroupSpec | str, name: str, new: str) -> None:
        catalog, spec = self._catalog, as_group(spec)
        check_name(new, "snapshot")

        def decide(change: Change) -> None:
            group_id, group = _group(change, spec)
            snapshot_id, snapshot = _find(catalog, group_id, spec, name)
            _check_snapshot_free(catalog, group_id, spec, new)
            change.put(keys.group_snapshot(group_id, snapshot_id), snapshot.changed(name=new).encode())
            change.put(keys.group(group_id), group.changed().encode())

        catalog.change(decide)

    @kernel_errors
    def remove_group_snapshot(
        self, spec: GroupSpec | str, name: str, *, progress: Progress | None = None
    ) -> None:
        catalog, spec = self._catalog, as_group(spec)

        def decide(change: Change) -> None:
            group_id, group = _group(change, spec)
            snapshot_id, snapshot = _find(catalog, group_id, spec, name)
            dropped: dict[str, int] = {}
            _drop_members(change, snapshot, dropped)
            _put_members(change, dropped)
            change.delete(keys.group_snapshot(group_id, snapshot_id))
            change.put(keys.group(group_id), group.changed().encode())

        catalog.change(decide)
        if progress:
            space.reclaim(catalog.kernel, progress)

    @kernel_errors
    def rollback_group(self, spec: GroupSpec | str, name: str, *, progress: Progress | None = None) -> None:
        catalog, spec = self._catalog, as_group(spec)

        def decide(change: Change) -> None:
            group_id, _ = _group(change, spec)
            _, snapshot = _find(catalog, group_id, spec, name)
            if {image_id for image_id, _ in snapshot.members} != set(_members(catalog, group_id)):
                raise InvalidArgument(f"group {str(spec)!r} has other members now than its snapshot {name!r}")
            for image_id, version in snapshot.members:
                image = _member(change, image_id)
                change.transaction.rollback(image.head, version)
                size = change.kernel.version(version).size
                change.put(keys.image(image_id), resized(image, size).encode())

        catalog.change(decide)
        if progress:
            space.reclaim(catalog.kernel, progress)


def refuse_member(image: StoredImage, called: str) -> None:
    """Raises InGroup for an image that belongs to a group."""
    if image.group:
        raise InGroup(f"image {called!r} belongs to a group", hint="take it out: `cowshed group image rm`")


def _group(view: View, spec: GroupSpec) -> tuple[str, StoredGroup]:
    value = view.get(keys.group_name(spec.pool, spec.namespace, spec.group))
    if value is None:
        view.place(spec.pool, spec.namespace)
        raise NotFound(f"no group {str(spec)!r}", hint="`cowshed group ls` lists the groups")
    group_id = value.decode()
    record = view.get(keys.group(group_id))
    if record is None:
        raise NotFound(f"no group {str(spec)!r}")
    return group_id, StoredGroup.decode(keys.group(group_id), record)


def _check_free(change: Change, spec: GroupSpec) -> None:
    change.place(spec.pool, spec.namespace)
    if change.get(keys.group_name(spec.pool, spec.namespace, spec.group)) is not None:
        raise AlreadyExists(f"group {str(spec)!r} exists already")


def _members(catalog: Catalog, group_id: str) -> list[str]:
    return [keys.last(key) for key, _ in catalog.scan(keys.members(group_id))]


def _member(change: Change, image_id: str) -> StoredImage:
    image = change.image_by_id(image_id)
    if image is None:
        raise NotFound(f"a member of the group, {image_id}, is gone")
    return image


def _snapshots(catalog: Catalog, group_id: str) -> list[tuple[str, StoredGroupSnapshot]]:
    found = catalog.scan(keys.group_snapshots(group_id))
    return [(keys.last(key), StoredGroupSnapshot.decode(key, value)) for key, value in found]


def _find(catalog: Catalog, group_id: str, spec: GroupSpec, name: str) -> tuple[str, StoredGroupSnapshot]:
    for snapshot_id, snapshot in _snapshots(catalog, group_id):
        if snapshot.name == name:
            return snapshot_id, snapshot
    raise NotFound(f"group {str(spec)!r} has no snapshot {name!r}", hint="`cowshed group snap ls` lists them")


def _check_snapshot_free(catalog: Catalog, group_id: str, spec: GroupSpec, name: str) -> None:
    if any(snapshot.name == name for _, snapshot in _snapshots(catalog, group_id)):
        raise AlreadyExists(f"group {str(spec)!r} has a snapshot {name!r} already")


def _info(snapshot_id: str, snapshot: StoredGroupSnapshot) -> GroupSnapshotInfo:
    return GroupSnapshotInfo(snapshot_id, snapshot.name, snapshot.created, snapshot.members)


def _drop_members(change: Change, snapshot: StoredGroupSnapshot, dropped: dict[str, int]) -> None:
    """Drop the members' snapshots; how many of which image is added to `dropped`."""
    for image_id, version in snapshot.members:
        if change.get(keys.snapshot(image_id, version)) is None:
            continue
        change.delete(keys.snapshot(image_id, version))
        change.transaction.drop(version)
        dropped[image_id] = dropped.get(image_id, 0) + 1


def _put_members(change: Change, dropped: dict[str, int], **fields: str | None) -> None:
    """Put the records of images that lost so many snapshots."""
    for image_id, count in dropped.items():
        image = change.image_by_id(image_id)
        if image is not None:
            change.put(
                keys.image(image_id), image.changed(snapshots=image.snapshots - count, **fields).encode()
            )
