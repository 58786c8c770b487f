"""The space account, and giving freed space back."""

from __future__ import annotations

import os
import uuid

from cowshed._kernel import BLOCK_SIZE, Kernel
from cowshed.errors import from_os_error
from cowshed.local import keys
from cowshed.local.catalog import Catalog, Change
from cowshed.local.stored import StoredImage
from cowshed.store.progress import Progress
from cowshed.store.records import StoreFacts, StoreUsage, Usage
from cowshed.store.spec import ImageSpec, SnapSpec


def usage(catalog: Catalog, spec: ImageSpec | SnapSpec) -> Usage:
    version = catalog.snapshot(spec)[2] if isinstance(spec, SnapSpec) else catalog.image(spec)[1].head
    info = catalog.kernel.version(version)
    exclusive = catalog.kernel.exclusive_blocks(version)
    return Usage(info.size, info.mapped_blocks * BLOCK_SIZE, exclusive * BLOCK_SIZE)


def facts(catalog: Catalog, path: str) -> StoreFacts:
    """A store gets its id when it is first asked for it."""

    def decide(change: Change) -> bytes:
        found = change.get(keys.ID)
        if found is None:
            found = str(uuid.uuid4()).encode()
            change.put(keys.ID, found)
        return found

    store_id = catalog.get(keys.ID) or catalog.change(decide)
    return StoreFacts(store_id.decode(errors="replace"), *room(path))


def room(path: str) -> tuple[int, int]:
    """Of the file system: all of it, and what may still be written."""
    try:
        disk = os.statvfs(path)
    except OSError as error:
        raise from_os_error(error, f"asking for the space at {path!r}") from None
    return disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize


def store_usage(catalog: Catalog) -> StoreUsage:
    images = snapshots = provisioned = 0
    for key, value in catalog.scan(keys.IMAGES):
        image = StoredImage.decode(key, value)
        images += 1
        snapshots += image.snapshots
        provisioned += catalog.kernel.version(image.head).size
    space = catalog.kernel.space()
    return StoreUsage(
        pools=sum(1 for _ in catalog.scan(keys.POOLS)),
        images=images,
        snapshots=snapshots,
        provisioned=provisioned,
        used=space.used_blocks * BLOCK_SIZE,
        hidden=catalog.kernel.hidden_blocks() * BLOCK_SIZE,
        free=space.free_blocks * BLOCK_SIZE,
        pending=space.pending_blocks * BLOCK_SIZE,
        metadata_bytes=space.metadata_bytes,
        catalog_bytes=space.catalog_bytes,
        blocks_file_bytes=space.blocks_file_bytes,
        versions=space.versions,
        hidden_versions=space.hidden_versions,
        reclaim_pending=bool(space.dying_versions or space.pending_blocks or space.unpunched_chunks),
    )


def reclaim(kernel: Kernel, progress: Progress | None) -> None:
    """Step until nothing is left. Progress counts pages and blocks looked at, their total unknown.

    Each step is durable, so an exception out of `progress` leaves the rest for later.
    """
    done = 0
    while step := kernel.reclaim():
        done += step
        if progress:
            progress(done, 0)
    if progress:
        progress(done, done)
