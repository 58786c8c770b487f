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
from cowshed.local.stored import StoredImage, StoredPool, StoredSnapshot, StoredTimes

_KNOWN = (
    keys.SCHEME,
    keys.NEXT_POOL,
    keys.POOLS,
    keys.NAMES,
    keys.IMAGES,
    keys.TIMES,
    keys.SNAPSHOTS,
    keys.SNAPSHOT_NAMES,
    keys.CHILDREN,
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
            self._times,
            self._children,
            self._versions,
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
            if self._catalog.get(keys.name(image.pool, image.namespace, image.name)) != image_id.encode():
                yield f"{what} is not found under its name"
            if self._catalog.get(keys.pool(image.pool)) is None:
                yield f"{what} is in pool {image.pool!r}, which does not exist"
            count = sum(1 for _ in self._catalog.scan(keys.snapshots(image_id)))
            if count != image.snapshots:
                yield f"{what} should have {image.snapshots} snapshots and has {count}"
            link = image.parent
            if link and self._catalog.get(keys.child(link.image, link.snapshot, image_id)) is None:
                yield f"{what} is not listed as a clone of its parent"

    def _snapshots(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.SNAPSHOTS):
            _, image_id, snapshot_id = key.decode().split("/")
            snapshot = StoredSnapshot.decode(key, value)
            what = f"snapshot {snapshot.name!r} of image {image_id}"
            yield from self._name(keys.snapshot_id(snapshot_id), what, head=False)
            if self._catalog.get(keys.snapshot_name(image_id, snapshot.name)) != snapshot_id.encode():
                yield f"{what} is not found under its name"
            if self._catalog.get(keys.image(image_id)) is None:
                yield f"{what} is of an image that does not exist"

    def _names(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.NAMES):
            _, pool, namespace, name = key.decode().split("/")
            image = self._catalog.image_by_id(value.decode())
            if image is None or (image.pool, image.namespace, image.name) != (pool, namespace, name):
                yield f"the name {pool}/{name} belongs to image {value.decode()}, which is not called so"

    def _snapshot_names(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.SNAPSHOT_NAMES):
            _, image_id, name = key.decode().split("/")
            snapshot = self._catalog.snapshot_by_id(image_id, keys.snapshot_id(value))
            if snapshot is None or snapshot.name != name:
                yield f"the name {name!r} of image {image_id} belongs to no snapshot of that name"

    def _times(self) -> Iterator[str]:
        for key, value in self._catalog.scan(keys.TIMES):
            StoredTimes.decode(key, value)
            if self._catalog.get(keys.image(keys.last(key))) is None:
                yield f"times are kept of image {keys.last(key)}, which does not exist"

    def _children(self) -> Iterator[str]:
        for key, _ in self._catalog.scan(keys.CHILDREN):
            _, image_id, snapshot_id, child_id = key.decode().split("/")
            child = self._catalog.image_by_id(child_id)
            link = child.parent if child else None
            if link is None or (link.image, link.snapshot) != (image_id, keys.snapshot_id(snapshot_id)):
                yield f"image {child_id} is listed as a clone of {image_id}, and is not one"

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
