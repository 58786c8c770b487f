"""The trash: images whose names were taken away."""

from __future__ import annotations

import os

from cowshed.errors import Busy, InGroup, NotEmpty, NotFound, NotPermitted
from cowshed.local import keys, space
from cowshed.local.boundary import kernel_errors
from cowshed.local.catalog import Catalog, Change
from cowshed.local.clock import now
from cowshed.local.ending import forget, put_in_trash
from cowshed.local.images import check_free
from cowshed.local.part import Part
from cowshed.local.stored import StoredImage, StoredTrash
from cowshed.store.progress import Progress
from cowshed.store.records import TrashInfo
from cowshed.store.spec import ImageSpec, as_image
from cowshed.store.trash import Trash


class LocalTrash(Part, Trash):
    """The trash of a local store."""

    @kernel_errors
    def trash_move(self, spec: ImageSpec | str, *, delay: float = 0.0) -> str:
        spec = as_image(spec)

        def decide(change: Change) -> str:
            image_id, image = change.named_image(spec)
            check_alone(change, image_id, image, str(spec))
            change.delete(keys.name(image.pool, image.namespace, image.name))
            put_in_trash(change, image_id, image, StoredTrash(now(), now() + delay))
            return image_id

        return self._catalog.change(decide)

    @kernel_errors
    def trash(self, pool: str, namespace: str = "") -> list[TrashInfo]:
        self._catalog.place(pool, namespace)
        return sorted(_listed(self._catalog, pool, namespace), key=lambda entry: (entry.name, entry.id))

    @kernel_errors
    def trash_restore(
        self, pool: str, image_id: str, *, namespace: str = "", name: str | None = None
    ) -> ImageSpec:
        def decide(change: Change) -> ImageSpec:
            image, _ = _trashed(change, pool, namespace, image_id)
            spec = ImageSpec(pool, namespace, image.name if name is None else name)
            check_free(change, spec)
            change.delete(keys.trashed(pool, namespace, image_id))
            change.put(keys.name(pool, namespace, spec.image), image_id.encode())
            change.put(keys.image(image_id), image.changed(trashed=False, name=spec.image).encode())
            return spec

        return self._catalog.change(decide)

    @kernel_errors
    def trash_remove(
        self,
        pool: str,
        image_id: str,
        *,
        namespace: str = "",
        force: bool = False,
        progress: Progress | None = None,
    ) -> None:
        def decide(change: Change) -> None:
            image, entry = _trashed(change, pool, namespace, image_id)
            if entry.until > now() and not force:
                rest = entry.until - now()
                raise NotPermitted(
                    f"image {image.name!r} ({image_id}) is to stay in the trash for {rest:.0f} s more",
                    hint="it can be forced",
                )
            change.delete(keys.trashed(pool, namespace, image_id))
            forget(change, image_id, image, f"{image.name!r} ({image_id}) in the trash of {pool!r}")

        self._catalog.change(decide)
        if progress:
            space.reclaim(self._catalog.kernel, progress)

    @kernel_errors
    def trash_purge(
        self,
        pool: str,
        namespace: str = "",
        *,
        expired_before: float | None = None,
        threshold: float | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        self._catalog.place(pool, namespace)
        entries = sorted(
            _listed(self._catalog, pool, namespace),
            key=lambda entry: (entry.deferred_until, entry.deleted, entry.id),
        )
        if threshold is None:
            limit = now() if expired_before is None else expired_before
            entries = [entry for entry in entries if entry.deferred_until <= limit]
        removed, kept = [], []
        for done, entry in enumerate(entries):
            if threshold is not None and self._used_share() <= threshold:
                break
            try:
                self.trash_remove(pool, entry.id, namespace=namespace, force=True)
                removed.append(entry.id)
            except NotEmpty:
                kept.append(f"{entry.name} ({entry.id})")
            except NotFound:
                continue
            if threshold is not None:
                space.reclaim(self._catalog.kernel, None)
            if progress:
                progress(done + 1, len(entries))
        if kept:
            raise NotEmpty(
                f"{len(removed)} images removed, {len(kept)} stay, having snapshots: {', '.join(kept[:5])}",
                hint="restore them, remove the snapshots, and move them to the trash again",
            )
        return removed

    def _used_share(self) -> float:
        """Of the file system that the store is on, as df(1) counts."""
        state = os.statvfs(self._target)
        used = state.f_blocks - state.f_bfree
        return used / ((used + state.f_bavail) or 1)


def check_alone(change: Change, image_id: str, image: StoredImage, called: str) -> None:
    """Raises InGroup for a member of a group, Busy for an image that is being moved."""
    if image.group:
        raise InGroup(f"image {called!r} belongs to a group", hint="take it out: `cowshed group image rm`")
    if change.get(keys.moving(image_id)) is not None:
        raise Busy(f"image {called!r} is being moved", hint="`cowshed migration commit` or `abort` first")


def _listed(catalog: Catalog, pool: str, namespace: str) -> list[TrashInfo]:
    found = []
    for key, value in catalog.scan(keys.trash(pool, namespace)):
        image_id, entry = keys.last(key), StoredTrash.decode(key, value)
        image = catalog.image_by_id(image_id)
        if image is not None:
            found.append(TrashInfo(image_id, image.name, entry.source, entry.deleted, entry.until))
    return found


def _trashed(change: Change, pool: str, namespace: str, image_id: str) -> tuple[StoredImage, StoredTrash]:
    change.place(pool, namespace)
    key = keys.trashed(pool, namespace, image_id)
    value = change.get(key)
    image = change.image_by_id(image_id)
    if value is None or image is None:
        raise NotFound(
            f"there is no image {image_id!r} in the trash of {pool!r}", hint="`cowshed trash ls` lists it"
        )
    return image, StoredTrash.decode(key, value)
