"""Volumes made from images of Glance, and images made from volumes."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from openstack.cinder_driver.conftest import tool
from openstack.cinder_driver.content import PIECE, Content, places
from openstack.cinder_driver.images import ImageService, glance_image, read_file, write_file

if TYPE_CHECKING:
    from openstack.cinder_driver.conftest import Maker
    from openstack.cinder_driver.service import Cinder

IMAGE_BYTES = 64 << 20


@pytest.fixture
def service(tmp_path: Path) -> ImageService:
    folder = tmp_path / "images"
    folder.mkdir()
    return ImageService(folder)


@pytest.fixture
def content() -> Content:
    """An image's, which is smaller than a volume can be."""
    dice = random.Random(7)
    return Content({offset: dice.randbytes(PIECE) for offset in places(1) if offset < IMAGE_BYTES})


def test_an_image_in_rbd_is_cloned(make: Maker, clone_format: int, content: Content) -> None:
    cinder = make(clone_format)
    image_id, location = glance_image(cinder.conf, content)
    cinder.ledger.labels[image_id] = "image"
    volume = cinder.ledger.volume("a", 2)
    meta = {"id": image_id, "disk_format": "raw"}
    update, cloned = cinder.driver.clone_image(cinder.context, volume, (location, None), meta, None)
    assert (update, cloned) == ({"provider_location": None}, True)
    cinder.contents[volume.id] = Content(content.pieces, 2)
    assert cinder.parent(volume) == "image@snap"
    cinder.check()
    cinder.write(volume)
    cinder.check()
    cinder.delete(volume)
    assert cinder.tree("images") == {"image": ["snap"]}


def test_an_image_elsewhere_or_not_raw_is_not_cloned(cinder: Cinder, content: Content) -> None:
    image_id, location = glance_image(cinder.conf, content)
    cinder.ledger.labels[image_id] = "image"
    volume = cinder.ledger.volume("a")
    raw = {"id": image_id, "disk_format": "raw"}
    for place, meta in (
        (location, {**raw, "disk_format": "qcow2"}),
        (location.replace("rbd://", "rbd://0"), raw),
        (location + "s", raw),
        (location.replace(image_id, image_id + "0"), raw),
        ("http://glance/image", raw),
    ):
        assert cinder.driver.clone_image(cinder.context, volume, (place, None), meta, None) == ({}, False)
    assert cinder.tree() == {}


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_an_image_is_copied_into_a_volume(
    cinder: Cinder, service: ImageService, content: Content, tmp_path: Path, disk_format: str
) -> None:
    tool("qemu-img", "qemu-utils")
    tool("rbd", "ceph-common")
    service.formats["i"] = disk_format
    write_file(tmp_path / "raw", content, IMAGE_BYTES)
    words = list(
        map(str, ["qemu-img", "convert", "-f", "raw", "-O", disk_format, tmp_path / "raw", service.path("i")])
    )
    subprocess.run(words, check=True)
    volume = cinder.create("a", 2)
    cinder.driver.copy_image_to_volume(cinder.context, volume, service, "i")
    cinder.contents[volume.id] = Content(content.pieces, 2)
    assert cinder.tree() == {"a": []}
    cinder.check()


def test_a_volume_is_imaged_anew_and_keeps_its_snapshots(
    cinder: Cinder, service: ImageService, content: Content
) -> None:
    """Here Cinder has qemu-img write into the volume, which stays as it is beyond the image's end."""
    tool("qemu-img", "qemu-utils")
    words = ["qemu-img", "info", f"rbd:volumes/none:conf={cinder.conf}:id=cinder"]
    said = subprocess.run(words, capture_output=True, text=True, check=False).stderr
    if "Unable to load module" in said or "Unknown protocol" in said:
        pytest.skip("this qemu-img has no rbd (apt-get install qemu-block-extra)")
    write_file(service.path("i"), content, IMAGE_BYTES)
    volume = cinder.create("a")
    cinder.write(volume, count=12)
    snapshot = cinder.snapshot("s", volume)
    cinder.driver.copy_image_to_volume(cinder.context, volume, service, "i", disable_sparse=True)
    pieces = cinder.contents[volume.id].pieces
    later = {offset: data for offset, data in pieces.items() if offset >= IMAGE_BYTES}
    assert later
    cinder.contents[volume.id] = Content({**content.pieces, **later})
    assert cinder.tree() == {"a": ["s"]}
    cinder.check(volume, snapshot)


def test_a_volume_becomes_a_raw_image(cinder: Cinder, service: ImageService) -> None:
    volume = cinder.create("a")
    cinder.write(volume, count=12)
    cinder.driver.copy_volume_to_image(cinder.context, volume, service, service.meta("i"))
    assert read_file(service.path("i")).digest() == cinder.contents[volume.id].digest()


def test_a_volume_becomes_a_qcow2_image(cinder: Cinder, service: ImageService, tmp_path: Path) -> None:
    tool("qemu-img", "qemu-utils")
    tool("rbd", "ceph-common")
    volume = cinder.create("a")
    cinder.write(volume, count=12)
    service.formats["i"] = "qcow2"
    cinder.driver.copy_volume_to_image(cinder.context, volume, service, service.meta("i"))
    words = list(
        map(str, ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", service.path("i"), tmp_path / "raw"])
    )
    subprocess.run(words, check=True)
    assert read_file(tmp_path / "raw").digest() == cinder.contents[volume.id].digest()
