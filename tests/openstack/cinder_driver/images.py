"""Glance as Cinder's drivers see it: an image service with files, and an image in RBD with its snapshot."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from openstack.cinder_driver.content import GIB, PIECE, Content
from openstack.cinder_driver.pools import opened


class ImageService:
    """What the drivers call of `cinder.image.glance.GlanceImageService`; images are files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.formats: dict[str, str] = {}
        self.temp_images: Any = None
        """Cinder keeps its own notes here."""

    def path(self, image_id: str) -> Path:
        return self.folder / f"image-{image_id}"

    def meta(self, image_id: str) -> dict[str, Any]:
        """The record of an image, whether it has data yet or not."""
        return {
            "id": image_id,
            "name": image_id,
            "disk_format": self.formats.get(image_id, "raw"),
            "container_format": "bare",
            "size": self.path(image_id).stat().st_size if self.path(image_id).exists() else 0,
        }

    def show(self, _context: Any, image_id: str) -> dict[str, Any]:
        return self.meta(image_id)

    def download(self, _context: Any, image_id: str, file: Any) -> None:
        with self.path(image_id).open("rb") as source:
            while data := source.read(4 << 20):
                file.write(data)

    def update(
        self,
        _context: Any,
        image_id: str,
        _changes: dict[str, Any],
        data: Any,
        store_id: str | None = None,
        base_image_ref: str | None = None,
    ) -> None:
        with self.path(image_id).open("wb") as target:
            while piece := data.read(4 << 20):
                # Leave holes: the volumes are large and nearly empty.
                target.seek(len(piece), 1) if piece.count(0) == len(piece) else target.write(piece)
            target.truncate()


def write_file(path: Path, content: Content, size: int | None = None) -> None:
    """`content` as a raw image, of `size` bytes if that is not the content's own size."""
    with path.open("wb") as file:
        for offset, data in content.pieces.items():
            file.seek(offset)
            file.write(data)
        file.truncate(size or content.size * GIB)


def read_file(path: Path) -> Content:
    """What a raw image holds."""
    pieces = {}
    with path.open("rb") as file:
        for offset in range(0, size := path.stat().st_size, PIECE):
            data = file.read(PIECE)
            if data.count(0) != len(data):
                pieces[offset] = data
    return Content(pieces, size // GIB)


def glance_image(conf: Path, content: Content) -> tuple[str, str]:
    """An image as Glance stores one in RBD; its id, and the location of its snapshot."""
    import rbd

    image_id = str(uuid.uuid4())
    with opened(conf, "images") as ioctx:
        rbd.RBD().create(ioctx, image_id, content.size * GIB, order=23)
        with rbd.Image(ioctx, image_id) as image:
            for offset, data in content.pieces.items():
                image.write(data, offset)
            image.flush()
            image.create_snap("snap")
            image.protect_snap("snap")
    import rados

    with rados.Rados(conffile=str(conf), rados_id="glance") as client:
        return image_id, f"rbd://{client.get_fsid()}/images/{image_id}/snap"
