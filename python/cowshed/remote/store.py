"""`RemoteStore`: a store that a daemon serves."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cowshed.remote.calls import Calls
from cowshed.remote.endpoint import Endpoint
from cowshed.store.interface import Image, Store
from cowshed.store.progress import Progress
from cowshed.store.records import (
    ChildInfo,
    ConfigOption,
    GroupInfo,
    GroupSnapshotInfo,
    ImageStat,
    LockInfo,
    MigrationInfo,
    ObjectStat,
    OmapPage,
    PoolInfo,
    PoolStats,
    SnapshotInfo,
    StoreFacts,
    StoreUsage,
    TrashInfo,
    Usage,
    Watcher,
)
from cowshed.store.spec import GroupSpec, ImageSpec, SnapSpec, as_spec
from cowshed.store.steps import ObjectStep
from cowshed.wire.answers import DaemonInfo

if TYPE_CHECKING:
    from cowshed.remote.handle import Handle
    from cowshed.remote.image import RemoteImage


class RemoteStore(Store):
    """Every method asks the daemon, which does it to the store that it owns."""

    def __init__(self, calls: Calls) -> None:
        """Asks who answers. Raises UnsupportedTarget for a daemon of another version, IOFailure."""
        try:
            calls.meet()
        except BaseException:
            calls.close()
            raise
        self._calls = calls
        self._call = calls.call
        self._run = calls.run
        self._images: weakref.WeakSet[RemoteImage] = weakref.WeakSet()

    @property
    def target(self) -> str:
        return self._calls.endpoint.target

    @property
    def daemon(self) -> DaemonInfo:
        """Who answered when the store was opened, and where it listens. Raises IOFailure."""
        return self._calls.info

    @property
    def store_id(self) -> str | None:
        """`StoreFacts.id`, of whoever answered this process last."""
        return self._calls.last_known.store_id

    @property
    def endpoint(self) -> Endpoint:
        """Where this client reaches it."""
        return self._calls.endpoint

    @property
    def client(self) -> str:
        return self._calls.client

    def close(self) -> None:
        """Closes the images that are open, too."""
        try:
            for image in list(self._images):
                image.close()
        finally:
            self._calls.close()

    def open(
        self,
        spec: ImageSpec | SnapSpec | str,
        *,
        read_only: bool = False,
        snapshot_id: int | None = None,
        cached: bool = True,
    ) -> Image:
        # Only now: most commands open no image, and need none of this.
        from cowshed.remote.handle import Handle
        from cowshed.remote.image import RemoteImage

        image = RemoteImage(Handle(self._calls, as_spec(spec), read_only, snapshot_id, cached))
        self._images.add(image)
        return image

    def handle(
        self, spec: ImageSpec | SnapSpec | str, *, read_only: bool = False, cached: bool = True
    ) -> Handle:
        """Open an image for another program, which reaches it by the handle's export.

        It lives as long as somebody is connected there, and a little longer; close it all the same.
        """
        from cowshed.remote.handle import Handle

        return Handle(self._calls, as_spec(spec), read_only, None, cached)

    # --- pools and namespaces

    def pools(self) -> list[PoolInfo]:
        return self._call(Store.pools)

    def create_pool(self, name: str) -> PoolInfo:
        return self._call(Store.create_pool, name)

    def remove_pool(self, name: str, *, with_images: bool = False) -> None:
        self._call(Store.remove_pool, name, with_images=with_images)

    def pool_stats(self, name: str, namespace: str | None = None) -> PoolStats:
        return self._call(Store.pool_stats, name, namespace)

    def mirror_mode(self, name: str) -> str:
        return self._call(Store.mirror_mode, name)

    def namespaces(self, pool: str) -> list[str]:
        return self._call(Store.namespaces, pool)

    def create_namespace(self, pool: str, name: str) -> None:
        self._call(Store.create_namespace, pool, name)

    def remove_namespace(self, pool: str, name: str) -> None:
        self._call(Store.remove_namespace, pool, name)

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
        self._call(Store.create, spec, size, order=order, features=features, striping=striping)

    def images(self, pool: str, namespace: str = "") -> Iterator[str]:
        return self._call(Store.images, pool, namespace)

    def stat(self, spec: ImageSpec | SnapSpec | str) -> ImageStat:
        return self._call(Store.stat, spec)

    def rename(self, spec: ImageSpec | str, new: ImageSpec | str) -> None:
        self._call(Store.rename, spec, new)

    def resize(self, spec: ImageSpec | str, size: int, *, allow_shrink: bool = False) -> None:
        self._call(Store.resize, spec, size, allow_shrink=allow_shrink)

    def remove(
        self,
        spec: ImageSpec | str,
        *,
        unless_used: bool = False,
        parent_to_trash: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._run(progress, Store.remove, spec, unless_used=unless_used, parent_to_trash=parent_to_trash)

    def find_image(self, pool: str, image_id: str, namespace: str = "") -> ImageSpec:
        return self._call(Store.find_image, pool, image_id, namespace)

    def copy(
        self,
        source: ImageSpec | SnapSpec | str,
        copy: ImageSpec | str,
        *,
        order: int | None = None,
        striping: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._run(progress, Store.copy, source, copy, order=order, striping=striping)

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
        self._run(progress, Store.deep_copy, source, copy, order=order, striping=striping, flatten=flatten)

    def sparsify(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> int:
        return self._run(progress, Store.sparsify, spec)

    def update_features(self, spec: ImageSpec | str, features: Sequence[str], enabled: bool) -> None:
        self._call(Store.update_features, spec, features, enabled)

    # --- snapshots

    def snapshots(self, spec: ImageSpec | str, *, all_namespaces: bool = False) -> list[SnapshotInfo]:
        return self._call(Store.snapshots, spec, all_namespaces=all_namespaces)

    def create_snapshot(self, spec: SnapSpec | str) -> SnapshotInfo:
        return self._call(Store.create_snapshot, spec)

    def remove_snapshot(self, spec: SnapSpec | str, *, progress: Progress | None = None) -> None:
        self._run(progress, Store.remove_snapshot, spec)

    def rename_snapshot(self, spec: SnapSpec | str, new: SnapSpec | str) -> None:
        self._call(Store.rename_snapshot, spec, new)

    def purge_snapshots(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> int:
        return self._run(progress, Store.purge_snapshots, spec)

    def rollback(self, spec: SnapSpec | str, *, progress: Progress | None = None) -> None:
        self._run(progress, Store.rollback, spec)

    def protect_snapshot(self, spec: SnapSpec | str) -> None:
        self._call(Store.protect_snapshot, spec)

    def unprotect_snapshot(self, spec: SnapSpec | str) -> None:
        self._call(Store.unprotect_snapshot, spec)

    def snapshot_limit(self, spec: ImageSpec | str) -> int | None:
        return self._call(Store.snapshot_limit, spec)

    def set_snapshot_limit(self, spec: ImageSpec | str, limit: int | None) -> None:
        self._call(Store.set_snapshot_limit, spec, limit)

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
        self._call(
            Store.clone,
            parent,
            child,
            order=order,
            features=features,
            striping=striping,
            clone_format=clone_format,
            default_format=default_format,
        )

    def children(self, spec: ImageSpec | SnapSpec | str) -> list[ChildInfo]:
        return self._call(Store.children, spec)

    def flatten(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        self._run(progress, Store.flatten, spec)

    def descendants(self, spec: ImageSpec | SnapSpec | str) -> list[ChildInfo]:
        return self._call(Store.descendants, spec)

    # --- trash

    def trash_move(self, spec: ImageSpec | str, *, delay: float = 0.0) -> str:
        return self._call(Store.trash_move, spec, delay=delay)

    def trash(self, pool: str, namespace: str = "") -> list[TrashInfo]:
        return self._call(Store.trash, pool, namespace)

    def trash_restore(
        self, pool: str, image_id: str, *, namespace: str = "", name: str | None = None
    ) -> ImageSpec:
        return self._call(Store.trash_restore, pool, image_id, namespace=namespace, name=name)

    def trash_remove(
        self,
        pool: str,
        image_id: str,
        *,
        namespace: str = "",
        force: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._run(progress, Store.trash_remove, pool, image_id, namespace=namespace, force=force)

    def trash_purge(
        self,
        pool: str,
        namespace: str = "",
        *,
        expired_before: float | None = None,
        threshold: float | None = None,
        progress: Progress | None = None,
    ) -> list[str]:
        return self._run(
            progress, Store.trash_purge, pool, namespace, expired_before=expired_before, threshold=threshold
        )

    # --- groups

    def groups(self, pool: str, namespace: str = "") -> list[str]:
        return self._call(Store.groups, pool, namespace)

    def create_group(self, spec: GroupSpec | str) -> None:
        self._call(Store.create_group, spec)

    def group(self, spec: GroupSpec | str) -> GroupInfo:
        return self._call(Store.group, spec)

    def rename_group(self, spec: GroupSpec | str, new: GroupSpec | str) -> None:
        self._call(Store.rename_group, spec, new)

    def remove_group(self, spec: GroupSpec | str) -> None:
        self._call(Store.remove_group, spec)

    def add_to_group(self, spec: GroupSpec | str, image: ImageSpec | str) -> None:
        self._call(Store.add_to_group, spec, image)

    def remove_from_group(self, spec: GroupSpec | str, image: ImageSpec | str) -> None:
        self._call(Store.remove_from_group, spec, image)

    def create_group_snapshot(self, spec: GroupSpec | str, name: str) -> GroupSnapshotInfo:
        return self._call(Store.create_group_snapshot, spec, name)

    def rename_group_snapshot(self, spec: GroupSpec | str, name: str, new: str) -> None:
        self._call(Store.rename_group_snapshot, spec, name, new)

    def remove_group_snapshot(
        self, spec: GroupSpec | str, name: str, *, progress: Progress | None = None
    ) -> None:
        self._run(progress, Store.remove_group_snapshot, spec, name)

    def rollback_group(self, spec: GroupSpec | str, name: str, *, progress: Progress | None = None) -> None:
        self._run(progress, Store.rollback_group, spec, name)

    # --- settings

    def metadata(self, spec: ImageSpec | str) -> dict[str, str]:
        return self._call(Store.metadata, spec)

    def get_metadata(self, spec: ImageSpec | str, key: str) -> str:
        return self._call(Store.get_metadata, spec, key)

    def set_metadata(self, spec: ImageSpec | str, key: str, value: str) -> None:
        self._call(Store.set_metadata, spec, key, value)

    def remove_metadata(self, spec: ImageSpec | str, key: str) -> None:
        self._call(Store.remove_metadata, spec, key)

    def pool_metadata(self, pool: str) -> dict[str, str]:
        return self._call(Store.pool_metadata, pool)

    def set_pool_metadata(self, pool: str, key: str, value: str) -> None:
        self._call(Store.set_pool_metadata, pool, key, value)

    def remove_pool_metadata(self, pool: str, key: str) -> None:
        self._call(Store.remove_pool_metadata, pool, key)

    def config(self, where: ImageSpec | str | None = None, *, pool: str | None = None) -> list[ConfigOption]:
        return self._call(Store.config, where, pool=pool)

    def set_config(
        self, key: str, value: str, *, image: ImageSpec | str | None = None, pool: str | None = None
    ) -> None:
        self._call(Store.set_config, key, value, image=image, pool=pool)

    def remove_config(
        self, key: str, *, image: ImageSpec | str | None = None, pool: str | None = None
    ) -> None:
        self._call(Store.remove_config, key, image=image, pool=pool)

    # --- objects

    def objects(self, pool: str, namespace: str = "", *, after: str = "", limit: int = 1000) -> list[str]:
        return self._call(Store.objects, pool, namespace, after=after, limit=limit)

    def object_namespaces(self, pool: str) -> list[str]:
        return self._call(Store.object_namespaces, pool)

    def stat_object(self, pool: str, name: str, *, namespace: str = "") -> ObjectStat:
        return self._call(Store.stat_object, pool, name, namespace=namespace)

    def read_object(
        self, pool: str, name: str, *, namespace: str = "", offset: int = 0, length: int | None = None
    ) -> bytes:
        return self._call(Store.read_object, pool, name, namespace=namespace, offset=offset, length=length)

    def object_attributes(self, pool: str, name: str, *, namespace: str = "") -> dict[str, bytes]:
        return self._call(Store.object_attributes, pool, name, namespace=namespace)

    def object_omap(
        self,
        pool: str,
        name: str,
        *,
        namespace: str = "",
        after: str = "",
        prefix: str = "",
        limit: int = 1000,
    ) -> OmapPage:
        return self._call(
            Store.object_omap, pool, name, namespace=namespace, after=after, prefix=prefix, limit=limit
        )

    def object_omap_values(
        self, pool: str, name: str, keys: Sequence[str], *, namespace: str = ""
    ) -> dict[str, bytes]:
        return self._call(Store.object_omap_values, pool, name, keys, namespace=namespace)

    def object_omap_header(self, pool: str, name: str, *, namespace: str = "") -> bytes:
        return self._call(Store.object_omap_header, pool, name, namespace=namespace)

    def change_object(
        self, pool: str, name: str, steps: Sequence[ObjectStep], *, namespace: str = ""
    ) -> ObjectStat | None:
        return self._call(Store.change_object, pool, name, steps, namespace=namespace)

    # --- advisory locks

    def locks(self, spec: ImageSpec | str) -> LockInfo | None:
        return self._call(Store.locks, spec)

    def lock(self, spec: ImageSpec | str, cookie: str, *, tag: str | None = None) -> None:
        self._call(Store.lock, spec, cookie, tag=tag)

    def unlock(self, spec: ImageSpec | str, cookie: str) -> None:
        self._call(Store.unlock, spec, cookie)

    def break_lock(self, spec: ImageSpec | str, client: str, cookie: str) -> None:
        self._call(Store.break_lock, spec, client, cookie)

    def watchers(self, spec: ImageSpec | str) -> list[Watcher]:
        return self._call(Store.watchers, spec)

    # --- moves

    def prepare_migration(
        self, source: ImageSpec | str, target: ImageSpec | str, *, order: int | None = None
    ) -> None:
        self._call(Store.prepare_migration, source, target, order=order)

    def execute_migration(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        self._run(progress, Store.execute_migration, spec)

    def commit_migration(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        self._run(progress, Store.commit_migration, spec)

    def abort_migration(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        self._run(progress, Store.abort_migration, spec)

    def migration(self, spec: ImageSpec | str) -> MigrationInfo | None:
        return self._call(Store.migration, spec)

    # --- space and health

    def usage(self, spec: ImageSpec | SnapSpec | str) -> Usage:
        return self._call(Store.usage, spec)

    def facts(self) -> StoreFacts:
        return self._call(Store.facts)

    def store_usage(self) -> StoreUsage:
        return self._call(Store.store_usage)

    def check(self) -> list[str]:
        return self._call(Store.check)

    def reclaim(self, *, progress: Progress | None = None) -> None:
        self._run(progress, Store.reclaim)
