"""`LocalStore`: a store directory on this machine, through the kernel in this process."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

from cowshed._kernel import Kernel
from cowshed.errors import NotFound, UnsupportedFormat
from cowshed.local import check, clones, copies, images, keys, pool_emptying, pools, snapshots, space
from cowshed.local import features as image_features
from cowshed.local.boundary import kernel_errors
from cowshed.local.catalog import Catalog, Change
from cowshed.local.clients import Client, Openings, this_process
from cowshed.local.groups import LocalGroups
from cowshed.local.image import LocalImage
from cowshed.local.locks import LocalLocks
from cowshed.local.migration import LocalMigration
from cowshed.local.objects import LocalObjects
from cowshed.local.settings import LocalSettings
from cowshed.local.stored import EARLIER_SCHEMES, SCHEME_VERSION
from cowshed.local.trash import LocalTrash
from cowshed.store.interface import Store
from cowshed.store.progress import Progress
from cowshed.store.records import (
    ChildInfo,
    ImageStat,
    PoolInfo,
    PoolStats,
    SnapshotInfo,
    StoreFacts,
    StoreUsage,
    Usage,
)
from cowshed.store.spec import DEFAULT_POOL, GroupSpec, ImageSpec, SnapSpec, as_image, as_snapshot, as_spec


class LocalStore(LocalTrash, LocalGroups, LocalSettings, LocalLocks, LocalMigration, LocalObjects, Store):
    """Takes over an open kernel, and closes it with itself.

    A store without the package's keys is a new one (or its making was cut short): it gets them, and the
    pool `rbd`.
    """

    def __init__(self, kernel: Kernel, target: str) -> None:
        self._kernel = kernel
        self._target = target
        self._closed = False
        self._opened_catalog = Catalog(kernel)
        self._client = this_process()
        self._openings = Openings()
        self._shared = False
        with kernel_errors:
            scheme = kernel.get(keys.SCHEME)
            if scheme in (None, *EARLIER_SCHEMES):
                self._opened_catalog.change(_furnish)
            elif scheme != str(SCHEME_VERSION).encode():
                raise UnsupportedFormat(
                    f"the catalogue of {target!r} is of version {scheme.decode(errors='replace')!r};"
                    f" this cowshed knows {SCHEME_VERSION}",
                    hint="use a newer cowshed",
                )

    @property
    def target(self) -> str:
        return self._target

    @property
    def kernel(self) -> Kernel:
        """For whoever serves its disks; it is closed with this store."""
        return self._kernel

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._shared:
                with kernel_errors:
                    self._kernel.close()

    def acting_for(self, client: Client) -> LocalStore:
        """This same store, as another client: its locks and what it opens are that one's.

        It ends with this one; closing it closes nothing else.
        """
        other = copy.copy(self)
        other._client = client
        other._shared = True
        return other

    # --- pools

    def pools(self) -> list[PoolInfo]:
        with kernel_errors:
            return pools.pools(self._catalog)

    def create_pool(self, name: str) -> PoolInfo:
        with kernel_errors:
            return pools.create_pool(self._catalog, name)

    def remove_pool(self, name: str, *, with_images: bool = False) -> None:
        with kernel_errors:
            if with_images:
                for namespace in ("", *pools.namespaces(self._catalog, name)):
                    for group in self.groups(name, namespace):
                        self.remove_group(GroupSpec(name, namespace, group))
                pool_emptying.remove_images(self._catalog, name)
            pools.remove_pool(self._catalog, name)

    def pool_stats(self, name: str, namespace: str | None = None) -> PoolStats:
        with kernel_errors:
            room = space.room(self._target)[1]
            return pools.pool_stats(self._catalog, name, namespace, room)

    def namespaces(self, pool: str) -> list[str]:
        with kernel_errors:
            return pools.namespaces(self._catalog, pool)

    def create_namespace(self, pool: str, name: str) -> None:
        with kernel_errors:
            pools.create_namespace(self._catalog, pool, name)

    def remove_namespace(self, pool: str, name: str) -> None:
        with kernel_errors:
            pools.remove_namespace(self._catalog, pool, name)

    # --- images

    def create(
        self,
        spec: ImageSpec | str,
        size: int,
        *,
        order: int | None = None,
        features: Sequence[str] | None = None,
        striping: tuple[int, int] | None = None,
    ) -> None:
        with kernel_errors:
            images.create(self._catalog, as_image(spec), size, order, features, striping)

    def images(self, pool: str, namespace: str = "") -> Iterator[str]:
        catalog = self._catalog
        with kernel_errors:
            catalog.place(pool, namespace)
        return self._image_names(catalog, pool, namespace)

    def _image_names(self, catalog: Catalog, pool: str, namespace: str) -> Iterator[str]:
        with kernel_errors:
            yield from images.names(catalog, pool, namespace)

    def stat(self, spec: ImageSpec | SnapSpec | str) -> ImageStat:
        with kernel_errors:
            return images.stat(self._catalog, as_spec(spec))

    def find_image(self, pool: str, image_id: str, namespace: str = "") -> ImageSpec:
        with kernel_errors:
            return images.find(self._catalog, pool, namespace, image_id)

    def open(
        self,
        spec: ImageSpec | SnapSpec | str,
        *,
        read_only: bool = False,
        snapshot_id: int | None = None,
        cached: bool = True,
    ) -> LocalImage:
        spec = as_spec(spec)
        catalog = self._catalog
        with kernel_errors:
            if isinstance(spec, SnapSpec):
                image_id, _, version, _ = catalog.snapshot(spec)
                return LocalImage(catalog, spec, image_id, version, True, cached=cached)
            image_id, image = catalog.image(spec)
            if snapshot_id is not None:
                snapshot = catalog.snapshot_by_id(image_id, snapshot_id)
                if snapshot is None:
                    raise NotFound(f"image {str(spec)!r} has no snapshot with the id {snapshot_id}")
                at = spec.at(snapshot.name)
                return LocalImage(catalog, at, image_id, snapshot_id, True, cached=cached)
            return LocalImage(
                catalog, spec, image_id, image.head, read_only, self._openings, self._client, cached
            )

    def rename(self, spec: ImageSpec | str, new: ImageSpec | str) -> None:
        with kernel_errors:
            images.rename(self._catalog, as_image(spec), as_image(new))

    def resize(self, spec: ImageSpec | str, size: int, *, allow_shrink: bool = False) -> None:
        with kernel_errors:
            images.resize(self._catalog, as_image(spec), size, allow_shrink)

    def remove(
        self,
        spec: ImageSpec | str,
        *,
        unless_used: bool = False,
        parent_to_trash: bool = False,
        progress: Progress | None = None,
    ) -> None:
        with kernel_errors:
            openings = self._openings if unless_used else None
            images.remove(self._catalog, as_image(spec), openings, parent_to_trash)
            self._reclaim_if_shown(progress)

    def copy(
        self,
        source: ImageSpec | SnapSpec | str,
        copy: ImageSpec | str,
        *,
        order: int | None = None,
        striping: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> None:
        with kernel_errors:
            copies.copy(self._catalog, as_spec(source), as_image(copy), order, striping, progress)

    def deep_copy(
        self,
        source: ImageSpec | SnapSpec | str,
        copy: ImageSpec | str,
        *,
        order: int | None = None,
        striping: tuple[int, int] | None = None,
        flatten: bool = False,
        progress: Progress | None = None,
    ) -> None:
        with kernel_errors:
            copies.deep_copy(
                self._catalog, as_spec(source), as_image(copy), order, striping, flatten, progress
            )

    def sparsify(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> int:
        with kernel_errors:
            return copies.sparsify(self._catalog, as_image(spec), progress)

    def update_features(self, spec: ImageSpec | str, features: Sequence[str], enabled: bool) -> None:
        with kernel_errors:
            image_id = image_features.update(self._catalog, as_image(spec), features, enabled)
        if not enabled and "exclusive-lock" in features:
            self._openings.disown(image_id)

    # --- snapshots

    def snapshots(self, spec: ImageSpec | str, *, all_namespaces: bool = False) -> list[SnapshotInfo]:
        with kernel_errors:
            return snapshots.snapshots(self._catalog, as_image(spec), all_namespaces)

    def snapshot_limit(self, spec: ImageSpec | str) -> int | None:
        with kernel_errors:
            return self._catalog.image(as_image(spec))[1].limit

    def set_snapshot_limit(self, spec: ImageSpec | str, limit: int | None) -> None:
        with kernel_errors:
            snapshots.set_limit(self._catalog, as_image(spec), limit)

    def create_snapshot(self, spec: SnapSpec | str) -> SnapshotInfo:
        with kernel_errors:
            return snapshots.create(self._catalog, as_snapshot(spec))

    def remove_snapshot(self, spec: SnapSpec | str, *, progress: Progress | None = None) -> None:
        with kernel_errors:
            snapshots.remove(self._catalog, as_snapshot(spec))
            self._reclaim_if_shown(progress)

    def rename_snapshot(self, spec: SnapSpec | str, new: SnapSpec | str) -> None:
        with kernel_errors:
            snapshots.rename(self._catalog, as_snapshot(spec), as_snapshot(new))

    def purge_snapshots(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> int:
        with kernel_errors:
            removed = snapshots.purge(self._catalog, as_image(spec), progress)
            if progress:
                space.reclaim(self._catalog.kernel, lambda *_: progress(removed, removed))
            return removed

    def rollback(self, spec: SnapSpec | str, *, progress: Progress | None = None) -> None:
        with kernel_errors:
            snapshots.rollback(self._catalog, as_snapshot(spec))
            self._reclaim_if_shown(progress)

    def protect_snapshot(self, spec: SnapSpec | str) -> None:
        with kernel_errors:
            snapshots.protect(self._catalog, as_snapshot(spec))

    def unprotect_snapshot(self, spec: SnapSpec | str) -> None:
        with kernel_errors:
            snapshots.unprotect(self._catalog, as_snapshot(spec))

    # --- clones

    def clone(
        self,
        parent: SnapSpec | str,
        child: ImageSpec | str,
        *,
        order: int | None = None,
        features: Sequence[str] | None = None,
        striping: tuple[int, int] | None = None,
        clone_format: int | None = None,
        default_format: int | None = None,
    ) -> None:
        with kernel_errors:
            clones.clone(
                self._catalog,
                as_snapshot(parent),
                as_image(child),
                order,
                features,
                striping,
                clone_format,
                default_format,
            )

    def descendants(self, spec: ImageSpec | SnapSpec | str) -> list[ChildInfo]:
        with kernel_errors:
            return clones.descendants(self._catalog, as_spec(spec))

    def children(self, spec: ImageSpec | SnapSpec | str) -> list[ChildInfo]:
        with kernel_errors:
            return clones.children(self._catalog, as_spec(spec))

    def flatten(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        with kernel_errors:
            clones.flatten(self._catalog, as_image(spec))
        if progress:
            progress(1, 1)

    # --- space and health

    def usage(self, spec: ImageSpec | SnapSpec | str) -> Usage:
        with kernel_errors:
            return space.usage(self._catalog, as_spec(spec))

    def facts(self) -> StoreFacts:
        with kernel_errors:
            return space.facts(self._catalog, self._target)

    def store_usage(self) -> StoreUsage:
        with kernel_errors:
            return space.store_usage(self._catalog)

    def check(self) -> list[str]:
        with kernel_errors:
            return self._kernel.check() + check.check(self._catalog)

    def reclaim(self, *, progress: Progress | None = None) -> None:
        with kernel_errors:
            space.reclaim(self._catalog.kernel, progress)

    def _reclaim_if_shown(self, progress: Progress | None) -> None:
        """Who watches a removal waits for its space; for all others it comes back by and by."""
        if progress:
            space.reclaim(self._catalog.kernel, progress)


def _furnish(change: Change) -> None:
    """Mark the store, and give a new one its pool."""
    if change.get(keys.SCHEME) is None:
        pools.add_pool(change, DEFAULT_POOL)
    change.put(keys.SCHEME, str(SCHEME_VERSION).encode())
