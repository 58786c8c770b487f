"""nova-compute's half: the libvirt driver's disks on RBD. The guest and the image service are stand-ins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from . import scattered

SECRET = "457eb676-33da-42ec-9a8c-9293d545c337"


class Images:
    """What Nova asks of Glance: where an image is, and its bytes where it cannot be cloned."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.files: dict[str, str] = {}

    def get(self, context: object, image_id: str, **_: object) -> dict[str, Any]:
        return self.known[image_id]

    def download(self, context: object, image_id: str, dest_path: str, **_: object) -> None:
        Path(dest_path).write_bytes(Path(self.files[image_id]).read_bytes())


class Room:
    """The libvirt driver's own methods for an instance's disks, each instance known by its uuid."""

    def __init__(self, settings: dict[str, Any]) -> None:
        eventlet = settings.get("eventlet", False)
        os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "false" if eventlet else "true"
        from nova import monkey_patch

        monkey_patch.patch()
        import nova.conf

        work, self.conf = Path(settings["work"]), settings["conf"]
        lines = [
            "[DEFAULT]",
            f"state_path = {work}",
            f"instances_path = {work}/instances",
            "[oslo_concurrency]",
            f"lock_path = {work}/locks",
            "[libvirt]",
            "virt_type = kvm",
            "images_type = rbd",
            f"images_rbd_pool = {settings.get('pool', 'vms')}",
            f"images_rbd_ceph_conf = {self.conf}",
            f"rbd_user = {settings.get('user', 'nova')}",
            f"rbd_secret_uuid = {SECRET}",
            "rbd_destroy_volume_retries = 2",
            "rbd_destroy_volume_retry_interval = 0",
            "hw_disk_discard = unmap",
        ]
        file = work / "nova-cpu.conf"
        file.write_text("\n".join(lines) + "\n")
        nova.conf.CONF(["--config-file", str(file)], project="nova")
        (work / "instances").mkdir(exist_ok=True)

        from nova.storage import rbd_utils
        from nova.virt import images
        from nova.virt.libvirt import driver, imagebackend

        self.images = Images()
        imagebackend.IMAGE_API = images.IMAGE_API = self.images
        self.rbd = rbd_utils
        # The driver without its host: what it does to disks needs no more than this.
        self.driver = driver.LibvirtDriver.__new__(driver.LibvirtDriver)
        self.driver.image_backend = imagebackend.Backend(use_cow=True)

    @contextmanager
    def using(self, conf: str | None) -> Iterator[None]:
        """Another ceph.conf, while it lasts; None: the one of its settings."""
        import nova.conf

        nova.conf.CONF.set_override("images_rbd_ceph_conf", conf or self.conf, "libvirt")
        yield
        nova.conf.CONF.clear_override("images_rbd_ceph_conf", "libvirt")

    def know(self, image_id: str, url: str | None, path: str, disk_format: str = "raw") -> None:
        """What Glance says of an image; without `url` it does not show locations."""
        locations = [{"url": url, "metadata": {}}] if url else []
        self.images.known[image_id] = {"id": image_id, "disk_format": disk_format, "locations": locations}
        self.images.files[image_id] = path

    def spawn(
        self, uuid: str, image_id: str, root_gb: int, task_state: str | None = None, conf: str | None = None
    ) -> bool:
        """The root disk of a new instance, or of one that is resized (task_state `resize_finish`).

        With a flavor of `root_gb` 0 it is as large as its image.
        """
        with self.using(conf):
            return bool(
                self.driver._create_and_inject_local_root(
                    None,
                    instance(uuid, root_gb, task_state),
                    {"disk": {"bus": "virtio", "dev": "vda", "type": "disk"}},
                    False,
                    "",
                    {"image_id": image_id},
                    None,
                    None,
                )
            )

    def disk(self, uuid: str, name: str = "disk") -> Any:
        mapping = {"bus": "virtio", "dev": "vda", "type": "disk"}
        return self.driver.image_backend.by_name(instance(uuid, 1), name, disk_info_mapping=mapping)

    def exists(self, uuid: str, name: str = "disk") -> bool:
        return bool(self.disk(uuid, name).exists())

    def size(self, uuid: str) -> int:
        return int(self.disk(uuid).get_disk_size("unused"))

    def resize(self, uuid: str, size: int) -> None:
        self.disk(uuid).resize_image(size)

    def confirm_resize(self, uuid: str) -> None:
        self.disk(uuid).remove_snap("nova-resize", ignore_errors=True)

    def revert_resize(self, uuid: str) -> None:
        disk = self.disk(uuid)
        disk.rollback_to_snap("nova-resize")
        disk.remove_snap("nova-resize")

    def import_file(self, uuid: str, path: str, name: str) -> None:
        """A config drive, say: a local file as the disk `name`."""
        self.disk(uuid, name).import_file(instance(uuid, 1), path, name)

    def write(self, uuid: str, writes: list[tuple[int, int]]) -> None:
        """What the guest writes to its root disk: pieces by offset and seed, as `scattered` knows them."""
        with self.rbd.RBDVolumeProxy(self.disk(uuid).driver, f"{uuid}_disk") as image:
            for offset, seed in writes:
                image.write(scattered.piece(seed), offset)
            image.flush()

    def digest(self, uuid: str) -> str:
        """Of the root disk, by `scattered`."""
        with self.rbd.RBDVolumeProxy(self.disk(uuid).driver, f"{uuid}_disk", read_only=True) as image:
            return scattered.digest(image)

    def flatten(self, uuid: str) -> None:
        self.disk(uuid).flatten()

    def snapshot(self, uuid: str, name: str, image_id: str, base_image_id: str) -> str:
        """Nova's way: snapshot, clone into Glance's pool, flatten. Returns the location."""
        return str(self.disk(uuid).direct_snapshot(None, name, "raw", image_id, base_image_id))

    def snapshot_unflattened(
        self, uuid: str, name: str, image_id: str, pool: str, conf: str | None = None
    ) -> str:
        """The same steps less the flattening, as clouds do that would not pay for the copy."""
        with self.using(conf):
            disk = self.disk(uuid)
            fsid = disk.driver.get_fsid()
            disk.driver.create_snap(disk.rbd_name, name, protect=True)
            source = {"url": f"rbd://{fsid}/{disk.driver.pool}/{disk.rbd_name}/{name}"}
            disk.driver.clone(source, image_id, dest_pool=pool)
            disk.driver.create_snap(image_id, "snap", pool=pool, protect=True)
            return f"rbd://{fsid}/{pool}/{image_id}/snap"

    def extract(self, uuid: str, target: str, out_format: str) -> None:
        """The way out where a direct snapshot is not possible: qemu-img."""
        self.disk(uuid).snapshot_extract(target, out_format)

    def cleanup(self, uuid: str, task_state: str | None = None) -> None:
        """All disks of an instance that is deleted (or resized back)."""
        self.driver._cleanup_rbd(instance(uuid, 1, task_state))

    def pool_info(self) -> dict[str, float]:
        return dict(self.driver._get_local_gb_info())

    def is_cloneable(self, url: str, disk_format: str = "raw") -> bool:
        return bool(self.rbd.RBDDriver().is_cloneable({"url": url}, {"disk_format": disk_format}))

    def info(self, uuid: str) -> dict[str, Any]:
        """What Nova learns of the disk by `qemu-img info`, which it keeps within limits."""
        from nova.virt import images

        driver = self.disk(uuid).driver
        name = f"rbd:{driver.pool}/{uuid}_disk:id={driver.rbd_user}:conf={driver.ceph_conf}"
        found = images.qemu_img_info(name)
        return {"virtual_size": found.virtual_size, "file_format": found.file_format}

    def xml(self, uuid: str) -> str:
        """The disk as libvirt gets it."""
        return str(self.disk(uuid).libvirt_info("writeback", {}).to_xml())

    def fsid(self) -> str:
        return str(self.rbd.RBDDriver().get_fsid())


def instance(uuid: str, root_gb: int, task_state: str | None = None) -> Any:
    return SimpleNamespace(
        uuid=uuid,
        task_state=task_state,
        vm_state="active",
        flavor=SimpleNamespace(root_gb=root_gb),
        image_meta=SimpleNamespace(properties={}),
        config_drive="",
        trusted_certs=None,
        migration_context=None,
    )
