"""The package's part of `check`: the catalogue against itself and against the kernel's versions.

It finds: a version that no record or more than one names; a record whose version is missing or of the
wrong kind; names, counts and links that do not match their records; keys of no known shape.
"""

from __future__ import annotations

from collections.abc import Iterator

from cowshed._kernel import KernelError, VersionInfo
from cowshed.errors import StoreDamaged
from cowshed.local import keys
from cowshed.local.catalog import Catalog
from cowshed.local.links import holders
from cowshed.local.object_check import check_objects
from cowshed.local.stored import (
    StoredGroup,
    StoredGroupSnapshot,
    StoredImage,
    StoredLock,
    StoredMove,
    StoredPool,
    StoredSnapshot,
    StoredTimes,
    StoredTrash,
)

_KNOWN = (
    keys.SCHEME,
    keys.ID,
    keys.NEXT_POOL,
    keys.POOLS,
    keys.NAMES,
    keys.IMAGES,
    keys.TIMES,
    keys.SNAPSHOTS,
    keys.SNAPSHOT_NAMES,
    keys.CHILDREN,
    keys.NAMESPACES,
    keys.TRASH,
    keys.METADATA,
    keys.POOL_METADATA,
    keys.CONFIG,
    keys.LOCKS,
    keys.GROUP_NAMES,
    keys.GROUPS,
    keys.MEMBERS,
    keys.GROUP_SNAPSHOTS,
    keys.MOVING,
    keys.OBJECTS,
    keys.OBJECT_DATA,
    keys.OBJECT_ATTRIBUTES,
    keys.OBJECT_OMAP,
    keys.OBJECT_HEADERS,
)


def check(catalog: Catalog) -> list[str]:
    """All that is wrong, a sentence each."""
    with catalog.gate.alone():  # so that no half of a change is looked at
        return list(_Check(catalog).findings())


class _Check:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._named: set[int] = set()

    def findings(self) -> Iterator[str]:
        for part in (
            self._pools,
            self._images,
            self._snapshots,
            self._names,
            self._snapshot_names,
            self._of_images,
            self._children,
            self._of_pools,
            self._trash,
            self._groups,
            self._members,
            self._group_snapshots,
            self._versions,
            lambda: check_objects(self._catalog),
            self._unknown_keys,
        ):
            try:
                yield from part()
            except StoreDamaged as error:
                yield error.message
            except KernelError as error:
                yield f"looking at the catalogue ends early: {error}"

    def _name(self, version: int, what: str, *, head: bool) -> Iterator[str]:
        if version in self._named:
            yield f"{what} names version {version}, which another record names too"
        self._named.add(version)
        info = self._version(version)
        if info is None:
            yield f"{what} names version {version}, which does not exist"
        elif info.hidden:
            yield f"{what} names version {version}, which was dropped"
        elif info.head != head:
            yield f"{what} names version {version}, which is {'a head' if info.head else 'frozen'}"

    def _version(self, version: int) -> VersionInfo | None:
        try:
            return self._catalog.kernel.version(version)
        except KernelError as error:
            if error.kind == "missing":
                return None
            raise

    def _pools(self) -> Iterator[str]:
        seen: dict[int, str] = {}
        for key, value in self._catalog.scan(keys.POOLS):
            pool, name = StoredPool.decode(key, value), keys.last(key)
            if pool.id in seen:
                yield f"pools {seen[pool.id]!r} and {name!r} have the same id {pool.id}"
            seen[pool.id] = name

    def _images(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.IMAGES):
            image_id, image = keys.last(key), StoredImage.decode(key, value)
            what = f"image {image_id} ({image.pool}/{image.name})"
            yield from self._name(image.head, what, head=True)
            found = self._catalog.get(keys.name(image.pool, image.namespace, image.name)) == image_id.encode()
            trashed = self._catalog.get(keys.trashed(image.pool, image.namespace, image_id)) is not None
            if not image.trashed and not found:
                yield f"{what} is not found under its name"
            if trashed != image.trashed:
                yield f"{what} is {'not ' if image.trashed else ''}in the trash, unlike its record says"
            if self._catalog.get(keys.pool(image.pool)) is None:
                yield f"{what} is in pool {image.pool!r}, which does not exist"
            elif image.namespace and self._catalog.get(keys.namespace(image.pool, image.namespace)) is None:
                yield f"{what} is in namespace {image.namespace!r}, which does not exist"
            count = sum(1 for _ in self._catalog.scan(keys.snapshots(image_id)))
            if count != image.snapshots:
                yield f"{what} should have {image.snapshots} snapshots and has {count}"
            link = image.parent
            if link and self._catalog.get(keys.child(link.image, link.snapshot, image_id)) is None:
                yield f"{what} is not listed as a clone of its parent"
            clones = sum(value == b"2" for _, value in self._catalog.scan(keys.children_of_image(image_id)))
            if clones != image.clones:
                yield f"{what} should have {image.clones} clones of format 2 and has {clones}"
            if image.group and self._catalog.get(keys.member(image.group, image_id)) is None:
                yield f"{what} is not listed as a member of its group"

    def _snapshots(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.SNAPSHOTS):
            _, image_id, snapshot_id = key.decode().split("/")
            snapshot = StoredSnapshot.decode(key, value)
            what = f"snapshot {snapshot.name!r} of image {image_id}"
            yield from self._name(keys.snapshot_id(snapshot_id), what, head=False)
            found = self._catalog.get(keys.snapshot_name(image_id, snapshot.name)) == snapshot_id.encode()
            if found != (snapshot.namespace == "user"):
                yield f"{what} is {'' if found else 'not '}found under its name"
            if snapshot.namespace == "trash" and not any(
                form == 2 for _, form in holders(self._catalog, image_id, keys.snapshot_id(snapshot_id))
            ):
                yield f"{what} was removed, and no clone holds it"
            if snapshot.namespace == "group" and not self._is_part(snapshot, image_id, snapshot_id):
                yield f"{what} is a part of no group's snapshot"
            if self._catalog.get(keys.image(image_id)) is None:
                yield f"{what} is of an image that does not exist"

    def _names(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.NAMES):
            _, pool, namespace, name = key.decode().split("/")
            image = self._catalog.image_by_id(value.decode())
            if (
                image is None
                or image.trashed
                or (image.pool, image.namespace, image.name) != (pool, namespace, name)
            ):
                yield f"the name {pool}/{name} belongs to image {value.decode()}, which is not called so"

    def _snapshot_names(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.SNAPSHOT_NAMES):
            _, image_id, name = key.decode().split("/")
            snapshot = self._catalog.snapshot_by_id(image_id, keys.snapshot_id(value))
            if snapshot is None or snapshot.name != name:
                yield f"the name {name!r} of image {image_id} belongs to no snapshot of that name"

    def _of_images(self) -> Iterator[str]:
        """What is kept under an image's id besides its record."""
        for prefix, what, stored in (
            (keys.TIMES, "times are kept", StoredTimes),
            (keys.LOCKS, "a lock is kept", StoredLock),
            (keys.MOVING, "a move is kept", StoredMove),
            (keys.METADATA, "metadata is kept", None),
        ):
            for key, value in self._catalog.scan(prefix):
                if stored:
                    stored.decode(key, value)
                image_id = key.split(b"/")[1].decode()
                if self._catalog.get(keys.image(image_id)) is None:
                    yield f"{what} of image {image_id}, which does not exist"

    def _of_pools(self) -> Iterator[str]:
        for prefix, what in (
            (keys.NAMESPACES, "a namespace"),
            (keys.CONFIG, "configuration"),
            (keys.POOL_METADATA, "metadata"),
        ):
            for key, _ in self._catalog.scan(prefix):
                pool = key.split(b"/")[1].decode()
                if self._catalog.get(keys.pool(pool)) is None:
                    yield f"{what} {keys.last(key)!r} is kept of pool {pool!r}, which does not exist"

    def _trash(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.TRASH):
            StoredTrash.decode(key, value)
            _, pool, namespace, image_id = key.decode().split("/")
            image = self._catalog.image_by_id(image_id)
            if image is None or not image.trashed or (image.pool, image.namespace) != (pool, namespace):
                yield f"the trash of {pool!r} has image {image_id}, which is not to be there"

    def _groups(self) -> Iterator[str]:
        named: set[str] = set()
        for key, value in self._catalog.scan(keys.GROUP_NAMES):
            _, pool, namespace, name = key.decode().split("/")
            group = self._group(value.decode())
            if group is None or (group.pool, group.namespace, group.name) != (pool, namespace, name):
                yield f"the name {pool}/{name} belongs to group {value.decode()}, which is not called so"
            named.add(value.decode())
        for key, _ in self._catalog.scan(keys.GROUPS):
            if keys.last(key) not in named:
                yield f"group {keys.last(key)} is not found under its name"

    def _group(self, group_id: str) -> StoredGroup | None:
        key = keys.group(group_id)
        value = self._catalog.get(key)
        return None if value is None else StoredGroup.decode(key, value)

    def _members(self) -> Iterator[str]:
        for key, _ in self._catalog.scan(keys.MEMBERS):
            _, group_id, image_id = key.decode().split("/")
            image = self._catalog.image_by_id(image_id)
            if image is None or image.group != group_id:
                yield f"group {group_id} has member {image_id}, which does not belong to it"
            if self._group(group_id) is None:
                yield f"image {image_id} is a member of group {group_id}, which does not exist"

    def _group_snapshots(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.GROUP_SNAPSHOTS):
            _, group_id, _ = key.decode().split("/")
            snapshot = StoredGroupSnapshot.decode(key, value)
            if self._group(group_id) is None:
                yield f"a snapshot {snapshot.name!r} is kept of group {group_id}, which does not exist"
            for image_id, version in snapshot.members:
                if self._catalog.snapshot_by_id(image_id, version) is None:
                    yield f"snapshot {snapshot.name!r} of group {group_id} misses that of image {image_id}"

    def _is_part(self, snapshot: StoredSnapshot, image_id: str, snapshot_id: str) -> bool:
        group_id, _, part = (snapshot.of or "").partition("/")
        key = keys.group_snapshot(group_id, part)
        value = self._catalog.get(key)
        member = (image_id, keys.snapshot_id(snapshot_id))
        return value is not None and member in StoredGroupSnapshot.decode(key, value).members

    def _children(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.CHILDREN):
            _, image_id, snapshot_id, child_id = key.decode().split("/")
            child = self._catalog.image_by_id(child_id)
            link = child.parent if child else None
            if link is None or (link.image, link.snapshot) != (image_id, keys.snapshot_id(snapshot_id)):
                yield f"image {child_id} is listed as a clone of {image_id}, and is not one"
            elif value != str(link.format or "").encode():
                yield f"image {child_id} is listed as another kind of clone than it is"
            elif link.format and self._catalog.snapshot_by_id(image_id, link.snapshot) is None:
                yield f"image {child_id} holds a snapshot of {image_id} that does not exist"

    def _versions(self) -> Iterator[str]:
        after = 0
        while page := self._catalog.kernel.versions(after=after):
            for info in page:
                if not info.hidden and info.id not in self._named:
                    yield f"version {info.id} belongs to no image or snapshot"
            after = page[-1].id

    def _unknown_keys(self) -> Iterator[str]:
        """Skips from one known prefix behind the last key of it, so that only strangers are visited."""
        after: bytes | None = None
        while page := self._catalog.kernel.scan(b"", after=after, limit=1):
            key = page[0][0]
            known = next((k for k in _KNOWN if key == k or (k.endswith(b"/") and key.startswith(k))), None)
            if known is None:
                yield f"the catalogue has a key {key.decode(errors='replace')!r} that no part of cowshed uses"
            after = known + b"\xff" if known and known.endswith(b"/") else key
