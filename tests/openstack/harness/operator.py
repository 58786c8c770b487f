"""Nobody's driver: the modules themselves, to make what a test needs, and to see what a driver left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rados
import rbd

from .contents import sha256


class Room:
    """One client, connected for as long as it lives."""

    def __init__(self, settings: dict[str, Any]) -> None:
        options = settings.get("options", {})
        self.cluster = rados.Rados(
            rados_id=settings.get("user", "admin"), conffile=settings["conf"], conf=options
        )
        self.cluster.connect()

    @contextmanager
    def image(self, pool: str, name: str, **keywords: Any) -> Iterator[Any]:
        with self.cluster.open_ioctx(pool) as ioctx, rbd.Image(ioctx, name, **keywords) as image:
            yield image

    def names(self, pool: str) -> list[str]:
        with self.cluster.open_ioctx(pool) as ioctx:
            return sorted(rbd.RBD().list(ioctx))

    def trash(self, pool: str) -> list[str]:
        with self.cluster.open_ioctx(pool) as ioctx:
            return sorted(entry["name"] for entry in rbd.RBD().trash_list(ioctx))

    def snaps(self, pool: str, name: str) -> list[str]:
        with self.image(pool, name, read_only=True) as image:
            return [snap["name"] for snap in image.list_snaps()]

    def protected(self, pool: str, name: str, snap: str) -> bool:
        with self.image(pool, name, read_only=True) as image:
            return bool(image.is_protected_snap(snap))

    def parent(self, pool: str, name: str) -> list[str] | None:
        with self.image(pool, name, read_only=True) as image:
            try:
                return list(image.parent_info())
            except rbd.ImageNotFound:
                return None

    def children(self, pool: str, name: str, snap: str) -> list[list[str]]:
        with self.image(pool, name, snapshot=snap, read_only=True) as image:
            return sorted([p, n] for p, n in image.list_children())

    def size(self, pool: str, name: str) -> int:
        with self.image(pool, name, read_only=True) as image:
            return int(image.size())

    def sha256(self, pool: str, name: str, snap: str | None = None, length: int | None = None) -> str:
        """Of the disk's bytes, or its first `length`."""
        with self.image(pool, name, snapshot=snap, read_only=True) as image:
            size = image.size() if length is None else length
            step = 4 << 20
            return sha256(image.read(at, min(step, size - at)) for at in range(0, size, step))

    def create(self, pool: str, name: str, size: int) -> None:
        with self.cluster.open_ioctx(pool) as ioctx:
            rbd.RBD().create(ioctx, name, size, old_format=False, features=rbd.RBD_FEATURE_LAYERING)

    def write(self, pool: str, name: str, offset: int, path: str) -> None:
        with self.image(pool, name) as image:
            image.write(Path(path).read_bytes(), offset)

    def resize(self, pool: str, name: str, size: int) -> None:
        with self.image(pool, name) as image:
            image.resize(size)

    def remove(self, pool: str, name: str) -> None:
        """An image with all its snapshots, protected or not."""
        with self.cluster.open_ioctx(pool) as ioctx:
            with rbd.Image(ioctx, name) as image:
                for snap in list(image.list_snaps()):
                    if image.is_protected_snap(snap["name"]):
                        image.unprotect_snap(snap["name"])
                    image.remove_snap(snap["name"])
            rbd.RBD().remove(ioctx, name)

    def purge(self, pool: str, name: str) -> None:
        """Images of that name in the trash."""
        with self.cluster.open_ioctx(pool) as ioctx:
            for entry in rbd.RBD().trash_list(ioctx):
                if entry["name"] == name:
                    rbd.RBD().trash_remove(ioctx, entry["id"], force=True)

    def put(self, pool: str, key: str, text: str) -> None:
        """An object of the pool's."""
        with self.cluster.open_ioctx(pool) as ioctx:
            ioctx.write_full(key, text.encode())

    def got(self, pool: str, key: str) -> str:
        with self.cluster.open_ioctx(pool) as ioctx:
            return str(ioctx.read(key), "utf-8")

    def conf(self, key: str) -> str | None:
        found = self.cluster.conf_get(key)
        return None if found is None else str(found)
