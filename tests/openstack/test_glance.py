"""Glance's store on RBD: upload, the snapshot that it makes, download, delete."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from openstack.conftest import Start
from openstack.harness.contents import write_image
from openstack.harness.process import DriverError

MiB = 1 << 20


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("size", [MiB - 512, 8 * MiB, 20 * MiB + 512])
def test_an_image_goes_in_and_comes_out(start: Start, tmp_path: Path, thin: bool, size: int) -> None:
    glance, operator = start("glance", thin=thin), start("operator")
    sha256 = write_image(tmp_path / "image", size, seed=size)
    image = str(uuid.uuid4())
    added = glance.call("add", image, str(tmp_path / "image"))
    fsid, pool, name, snap = added["url"].removeprefix("rbd://").split("/")
    assert str(uuid.UUID(fsid)) == fsid
    assert (pool, name, snap) == ("images", image, "snap")
    assert (added["size"], added["sha256"]) == (size, sha256)
    assert operator.call("snaps", "images", image) == ["snap"]
    assert operator.call("protected", "images", image, "snap") is True
    assert glance.call("read", added["url"]) == {"size": size, "sha256": sha256}
    assert glance.call("size", added["url"]) == size
    glance.call("delete", added["url"])
    assert image not in operator.call("names", "images")


def test_an_upload_of_unknown_length_grows_the_image_as_it_comes(start: Start, tmp_path: Path) -> None:
    glance = start("glance")
    size = 50 * MiB + 1024
    sha256 = write_image(tmp_path / "image", size, seed=4)
    added = glance.call("add", str(uuid.uuid4()), str(tmp_path / "image"), 0)
    assert (added["size"], added["sha256"]) == (size, sha256)
    assert glance.call("read", added["url"]) == {"size": size, "sha256": sha256}
    glance.call("delete", added["url"])


def test_an_upload_that_lied_of_its_length_leaves_nothing(start: Start, tmp_path: Path) -> None:
    glance, operator = start("glance"), start("operator")
    write_image(tmp_path / "image", 2 * MiB, seed=5)
    for declared in (MiB, 3 * MiB):
        image = str(uuid.uuid4())
        with pytest.raises(DriverError) as refused:
            glance.call("add", image, str(tmp_path / "image"), declared)
        assert refused.value.kind == "Invalid"
        assert image not in operator.call("names", "images")
        assert image not in operator.call("trash", "images")


def test_the_same_image_twice_is_a_duplicate_and_the_first_stays(start: Start, tmp_path: Path) -> None:
    glance = start("glance")
    sha256 = write_image(tmp_path / "image", MiB, seed=6)
    image = str(uuid.uuid4())
    added = glance.call("add", image, str(tmp_path / "image"))
    with pytest.raises(DriverError) as refused:
        glance.call("add", image, str(tmp_path / "image"))
    assert refused.value.kind == "Duplicate"
    assert glance.call("read", added["url"])["sha256"] == sha256
    glance.call("delete", added["url"])
    for call in ("read", "size", "delete"):
        with pytest.raises(DriverError) as missing:
            glance.call(call, added["url"])
        assert missing.value.kind == "NotFound"


@pytest.mark.parametrize("number", [1, 2])
def test_deleting_an_image_that_an_instance_was_cloned_from(
    start: Start, tmp_path: Path, clone_format: Callable[[int], Path], number: int
) -> None:
    glance, operator = start("glance", conf=str(clone_format(number))), start("operator")
    nova = start("nova", eventlet=False)
    sha256 = write_image(tmp_path / "image", 4 * MiB, seed=7)
    image, guest = str(uuid.uuid4()), str(uuid.uuid4())
    url = glance.call("add", image, str(tmp_path / "image"))["url"]
    nova.call("know", image, url, str(tmp_path / "image"))
    nova.call("spawn", guest, image, 0, conf=str(clone_format(number)))
    if number == 1:
        with pytest.raises(DriverError) as refused:
            glance.call("delete", url)
        assert refused.value.kind == "InUseByStore"
        assert glance.call("read", url)["sha256"] == sha256
        assert operator.call("snaps", "images", image) == ["snap"]
        assert operator.call("parent", "vms", f"{guest}_disk") == ["images", image, "snap"]
    else:
        glance.call("delete", url)
        assert image not in operator.call("names", "images")
        assert image in operator.call("trash", "images")
    assert operator.call("sha256", "vms", f"{guest}_disk") == sha256
    nova.call("cleanup", guest)
    assert f"{guest}_disk" not in operator.call("names", "vms")
    if number == 1:
        glance.call("delete", url)
    else:
        operator.call("purge", "images", image)
    assert image not in operator.call("names", "images")
    assert image not in operator.call("trash", "images")
