"""The catalogue as the package sees it: records looked up, and changes applied as one kernel transaction.

A change is decided without a lock: what it reads is remembered, and the kernel refuses the commit when
any of it is different by then; it is then decided anew. So changes that do not touch the same records
share the kernel's commits, and no lock is held while the disk works. What a scan finds is not remembered:
a scan below one image is covered by the image's record (its `revision`), a wider one needs `gate.alone()`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from cowshed._kernel import Kernel, KernelError, Transaction
from cowshed.errors import CowshedError, NotFound, StoreDamaged
from cowshed.local import keys
from cowshed.local.gate import Gate
from cowshed.local.stored import StoredImage, StoredPool, StoredSnapshot
from cowshed.process import Home
from cowshed.store.spec import ImageSpec, SnapSpec

T = TypeVar("T")


class View:
    """Records by their names and ids, as they are now."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def get(self, key: bytes) -> bytes | None:
        return self.kernel.get(key)

    def scan(self, prefix: bytes, *, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """All keys with the prefix (behind `after`), in order, a page at a time."""
        while True:
            page = self.kernel.scan(prefix, after=after)
            yield from page
            if not page:
                return
            after = page[-1][0]

    def place(self, pool: str, namespace: str) -> None:
        """Raises NotFound unless the pool and the namespace exist."""
        self.pool(pool)
        if namespace and self.get(keys.namespace(pool, namespace)) is None:
            raise NotFound(
                f"no namespace {namespace!r} in pool {pool!r}", hint="`cowshed namespace ls` lists them"
            )

    def pool(self, name: str) -> StoredPool:
        """Raises NotFound."""
        key = keys.pool(name)
        value = self.get(key)
        if value is None:
            raise NotFound(f"no pool {name!r}", hint="`cowshed pool ls` lists the pools")
        return StoredPool.decode(key, value)

    def image(self, spec: ImageSpec) -> tuple[str, StoredImage]:
        """Id and record; one in the trash only by its id. Raises NotFound for the pool or the image."""
        if spec.by_id:
            found = self.image_by_id(spec.image)
            if found is None or (found.pool, found.namespace) != (spec.pool, spec.namespace):
                self.place(spec.pool, spec.namespace)
                raise NotFound(f"no image with the id {spec.image!r} in {spec.pool!r}")
            return spec.image, found
        value = self.get(keys.name(spec.pool, spec.namespace, spec.image))
        if value is None:
            self.place(spec.pool, spec.namespace)
            raise NotFound(f"no image {str(spec)!r}")
        image_id = value.decode(errors="replace")
        record = self.image_by_id(image_id)
        if record is None:
            raise StoreDamaged(f"the name {str(spec)!r} belongs to image {image_id}, which has no record")
        return image_id, record

    def named_image(self, spec: ImageSpec) -> tuple[str, StoredImage]:
        """As `image`, for what is done to its name: one in the trash is not found."""
        image_id, image = self.image(spec)
        if image.trashed:
            raise NotFound(f"image {image.name!r} ({image_id}) is in the trash", hint="restore it")
        return image_id, image

    def image_by_id(self, image_id: str) -> StoredImage | None:
        key = keys.image(image_id)
        value = self.get(key)
        return None if value is None else StoredImage.decode(key, value)

    def snapshot(self, spec: SnapSpec) -> tuple[str, StoredImage, int, StoredSnapshot]:
        """Image id and record, snapshot id and record. Raises NotFound for pool, image or snapshot."""
        image_id, image = self.image(spec.image_spec)
        value = self.get(keys.snapshot_name(image_id, spec.snapshot))
        if value is None:
            raise NotFound(f"no snapshot {str(spec)!r}")
        snapshot_id = keys.snapshot_id(value)
        snapshot = self.snapshot_by_id(image_id, snapshot_id)
        if snapshot is None:
            raise StoreDamaged(
                f"the name {str(spec)!r} belongs to snapshot {snapshot_id}, which has no record"
            )
        return image_id, image, snapshot_id, snapshot

    def snapshot_by_id(self, image_id: str, snapshot_id: int) -> StoredSnapshot | None:
        key = keys.snapshot(image_id, snapshot_id)
        value = self.get(key)
        return None if value is None else StoredSnapshot.decode(key, value)


class Change(View):
    """One attempt at a change. Reads see the state before it, never what the change itself puts."""

    def __init__(self, kernel: Kernel, transaction: Transaction) -> None:
        super().__init__(kernel)
        self.transaction = transaction
        self._seen: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        if key not in self._seen:
            value = self.kernel.get(key)
            self._seen[key] = value
            self.transaction.require(key, value)
        return self._seen[key]

    def put(self, key: bytes, value: bytes) -> None:
        self.transaction.put(key, value)

    def delete(self, key: bytes) -> None:
        self.transaction.delete(key)

    def overtaken(self) -> bool:
        """Whether anything that was read is different now."""
        return any(self.kernel.get(key) != value for key, value in self._seen.items())


class Catalog(View):
    """The catalogue of one open store."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel)
        self.home = Home()
        self.gate = Gate()

    def change(self, decide: Callable[[Change], T]) -> T:
        """Apply what `decide` puts into a Change, durably, and return its result.

        `decide` may be called again when another change came between; it must do nothing else.
        """
        with self.gate.together():
            return self.change_within(decide)

    def change_within(self, decide: Callable[[Change], T]) -> T:
        """As `change`, for who is inside the gate already."""
        while True:
            change: Change | None = None
            try:
                with self.kernel.transaction() as transaction:
                    change = Change(self.kernel, transaction)
                    return decide(change)
            except KernelError as error:
                # A version that vanished between our look and our step shows as missing or stale.
                if error.kind not in ("conflict", "missing", "stale") or change is None:
                    raise
                if not change.overtaken():
                    raise
            except CowshedError:
                # Refused by what may have been half of another's change.
                if change is None or not change.overtaken():
                    raise

    def snapshots(self, image_id: str, *, after: int = 0) -> Iterator[tuple[int, StoredSnapshot]]:
        """An image's snapshots in the order of their creation, those behind the id `after`."""
        for key, value in self.scan(keys.snapshots(image_id), after=keys.snapshot(image_id, after)):
            yield keys.snapshot_id(keys.last(key)), StoredSnapshot.decode(key, value)
