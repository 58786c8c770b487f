"""Nova's disks on RBD: clones of Glance's images, resize, snapshots in both modes, cleanup."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from openstack.conftest import Start
from openstack.harness.contents import pieces_of, sha256, write_image
from openstack.harness.process import DriverError, Service
from openstack.harness.target import Target
from serve.daemons import run

MiB = 1 << 20
GiB = 1 << 30
SIZE = 6 * MiB


@dataclass
class Cloud:
    """One image in Glance, Nova that knows it, and who sees what they left."""

    glance: Service
    nova: Service
    operator: Service
    image: str
    url: str
    sha256: str
    path: Path

    def spawn(self, root_gb: int = 0) -> str:
        """A new guest, whose disk is as large as its flavor says, and with 0 as its image."""
        guest = str(uuid.uuid4())
        self.nova.call("spawn", guest, self.image, root_gb)
        return guest

    def root(self, guest: str, length: int | None = None) -> str:
        """The hash of a guest's root disk."""
        return str(self.operator.call("sha256", "vms", f"{guest}_disk", None, length))

    def disks(self, guest: str) -> list[str]:
        """What is left of its disks' names in the pool."""
        return [name[len(guest) :] for name in self.operator.call("names", "vms") if name.startswith(guest)]


@pytest.fixture(params=["threads", "eventlet"])
def nova(start: Start, request: pytest.FixtureRequest) -> Service:
    """nova-compute, native threads or eventlet with its tpool."""
    return start("nova", eventlet=request.param == "eventlet")


@pytest.fixture
def cloud(start: Start, nova: Service, tmp_path: Path) -> Iterator[Cloud]:
    glance, operator = start("glance"), start("operator")
    path, image = tmp_path / "image.raw", str(uuid.uuid4())
    digest = write_image(path, SIZE, seed=11)
    url = glance.call("add", image, str(path))["url"]
    nova.call("know", image, url, str(path))
    yield Cloud(glance, nova, operator, image, url, digest, path)
    if image in operator.call("names", "images"):
        glance.call("delete", url)


def test_instances_are_clones_of_the_image_and_its_one_snapshot(cloud: Cloud) -> None:
    guests = [cloud.spawn(root_gb) for root_gb in (1, 1, 2)]
    for guest, root_gb in zip(guests, (1, 1, 2), strict=True):
        assert cloud.nova.call("size", guest) == root_gb * GiB
        assert cloud.root(guest, SIZE) == cloud.sha256
        assert cloud.operator.call("parent", "vms", f"{guest}_disk") == ["images", cloud.image, "snap"]
        assert cloud.operator.call("snaps", "vms", f"{guest}_disk") == []
    assert cloud.operator.call("snaps", "images", cloud.image) == ["snap"]
    children = [["vms", f"{guest}_disk"] for guest in sorted(guests)]
    assert cloud.operator.call("children", "images", cloud.image, "snap") == children
    for guest in guests:
        cloud.nova.call("cleanup", guest)
        assert cloud.disks(guest) == []
    assert cloud.operator.call("children", "images", cloud.image, "snap") == []


def test_a_second_spawn_of_the_same_instance_finds_its_disk(cloud: Cloud, tmp_path: Path) -> None:
    guest = cloud.spawn()
    write_image(tmp_path / "more", MiB, seed=12)
    cloud.operator.call("write", "vms", f"{guest}_disk", MiB, str(tmp_path / "more"))
    before = cloud.root(guest, SIZE)
    assert before != cloud.sha256
    assert cloud.nova.call("spawn", guest, cloud.image, 1) is False
    assert cloud.root(guest, SIZE) == before
    cloud.nova.call("cleanup", guest)


def test_what_cannot_be_cloned_is_fetched_and_imported(cloud: Cloud) -> None:
    hidden = str(uuid.uuid4())
    cloud.nova.call("know", hidden, None, str(cloud.path))
    guest = str(uuid.uuid4())
    cloud.nova.call("spawn", guest, hidden, 1)
    assert cloud.nova.call("size", guest) == GiB
    assert cloud.root(guest, SIZE) == cloud.sha256
    assert cloud.operator.call("parent", "vms", f"{guest}_disk") is None
    cloud.nova.call("cleanup", guest)
    assert cloud.disks(guest) == []


def test_which_locations_can_be_cloned(cloud: Cloud) -> None:
    fsid = cloud.nova.call("fsid")
    assert cloud.url == f"rbd://{fsid}/images/{cloud.image}/snap"
    assert cloud.nova.call("is_cloneable", cloud.url) is True
    assert cloud.nova.call("is_cloneable", cloud.url, "qcow2") is False
    assert cloud.nova.call("is_cloneable", f"rbd://{uuid.uuid4()}/images/{cloud.image}/snap") is False
    assert cloud.nova.call("is_cloneable", f"rbd://{fsid}/images/{cloud.image}/other") is False
    assert cloud.nova.call("is_cloneable", f"rbd://{fsid}/images/{uuid.uuid4()}/snap") is False
    assert cloud.nova.call("is_cloneable", f"rbd://{cloud.image}") is False
    assert cloud.nova.call("is_cloneable", "file:///tmp/image") is False


def test_resize_and_confirm_or_revert(cloud: Cloud, tmp_path: Path) -> None:
    write_image(tmp_path / "more", MiB, seed=13)
    for revert in (False, True):
        guest = cloud.spawn(root_gb=1)
        cloud.nova.call("spawn", guest, cloud.image, 3, task_state="resize_finish")
        assert cloud.nova.call("size", guest) == 3 * GiB
        assert cloud.operator.call("snaps", "vms", f"{guest}_disk") == ["nova-resize"]
        cloud.operator.call("write", "vms", f"{guest}_disk", 2 * MiB, str(tmp_path / "more"))
        written = cloud.root(guest, SIZE)
        assert written != cloud.sha256
        if revert:
            cloud.nova.call("cleanup", guest, task_state="resize_reverting")
            cloud.nova.call("revert_resize", guest)
            assert cloud.nova.call("size", guest) == GiB
            assert cloud.root(guest, SIZE) == cloud.sha256
        else:
            cloud.nova.call("confirm_resize", guest)
            assert cloud.nova.call("size", guest) == 3 * GiB
            assert cloud.root(guest, SIZE) == written
        assert cloud.operator.call("snaps", "vms", f"{guest}_disk") == []
        cloud.nova.call("cleanup", guest)
        assert cloud.disks(guest) == []


def test_cleanup_takes_all_disks_and_the_resize_snapshot_and_no_other_instance(
    cloud: Cloud, tmp_path: Path
) -> None:
    guest, other = cloud.spawn(), cloud.spawn()
    cloud.nova.call("spawn", guest, cloud.image, 2, task_state="resize_finish")
    digest = write_image(tmp_path / "config", 64 << 10, seed=14)
    for name in ("disk.config", "disk.local"):
        cloud.nova.call("import_file", guest, str(tmp_path / "config"), name)
        assert cloud.operator.call("sha256", "vms", f"{guest}_{name}") == digest
    assert sorted(cloud.disks(guest)) == ["_disk", "_disk.config", "_disk.local"]
    cloud.nova.call("cleanup", guest, task_state="resize_reverting")
    assert sorted(cloud.disks(guest)) == ["_disk", "_disk.config"]
    cloud.nova.call("cleanup", guest)
    assert cloud.disks(guest) == []
    assert cloud.disks(other) == ["_disk"]
    cloud.nova.call("cleanup", other)


def test_an_imported_disk_is_replaced_by_the_next(cloud: Cloud, tmp_path: Path) -> None:
    guest = str(uuid.uuid4())
    for seed, size in ((15, 128 << 10), (16, 64 << 10)):
        digest = write_image(tmp_path / "config", size, seed)
        cloud.nova.call("import_file", guest, str(tmp_path / "config"), "disk.config")
        assert cloud.operator.call("sha256", "vms", f"{guest}_disk.config") == digest
    cloud.nova.call("cleanup", guest)


def test_a_snapshot_is_flattened_and_outlives_its_instance(cloud: Cloud, tmp_path: Path) -> None:
    guest, image = cloud.spawn(), str(uuid.uuid4())
    write_image(tmp_path / "more", MiB, seed=17)
    cloud.operator.call("write", "vms", f"{guest}_disk", 3 * MiB, str(tmp_path / "more"))
    written = cloud.root(guest)
    url = cloud.nova.call("snapshot", guest, uuid.uuid4().hex, image, cloud.image)
    assert url == f"rbd://{cloud.nova.call('fsid')}/images/{image}/snap"
    assert cloud.operator.call("snaps", "vms", f"{guest}_disk") == []
    assert cloud.operator.call("parent", "images", image) is None
    assert cloud.operator.call("protected", "images", image, "snap") is True
    cloud.nova.call("cleanup", guest)
    assert cloud.disks(guest) == []
    assert cloud.glance.call("read", url) == {"size": SIZE, "sha256": written}
    cloud.glance.call("delete", url)
    assert image not in cloud.operator.call("names", "images")


@pytest.mark.parametrize("number", [1, 2])
def test_a_snapshot_that_is_not_flattened_holds_its_instance(
    cloud: Cloud, start: Start, clone_format: Callable[[int], Path], number: int
) -> None:
    # Who reads such an image reads the instance's disk: Glance's own user, kept to its pool, may not.
    glance = start("glance", user="cinder")
    guest, image, name = cloud.spawn(), str(uuid.uuid4()), uuid.uuid4().hex
    written = cloud.root(guest)
    conf = str(clone_format(number))
    url = cloud.nova.call("snapshot_unflattened", guest, name, image, "images", conf=conf)
    assert cloud.operator.call("snaps", "vms", f"{guest}_disk") == [name]
    assert cloud.operator.call("parent", "images", image) == ["vms", f"{guest}_disk", name]
    # Nova tries as often as it is told to, says so in its log, and goes on: the disk stays.
    cloud.nova.call("cleanup", guest)
    assert cloud.disks(guest) == ["_disk"]
    assert glance.call("read", url) == {"size": SIZE, "sha256": written}
    glance.call("delete", url)
    assert image not in cloud.operator.call("names", "images")
    cloud.operator.call("remove", "vms", f"{guest}_disk")
    assert cloud.disks(guest) == []


@pytest.mark.parametrize("out_format", ["raw", "qcow2"])
def test_a_snapshot_by_qemu_img(cloud: Cloud, target: Target, tmp_path: Path, out_format: str) -> None:
    if target.name == "ceph" and not list(Path("/usr/lib").glob("*/qemu/block-rbd.so")):
        pytest.skip("QEMU's rbd driver is not here (Debian's qemu-block-extra)")
    guest = cloud.spawn()
    assert cloud.nova.call("info", guest) == {"virtual_size": SIZE, "file_format": "raw"}
    out = tmp_path / "extracted"
    cloud.nova.call("extract", guest, str(out), out_format)
    raw = out
    if out_format == "qcow2":
        raw = tmp_path / "raw"
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", out, raw], check=True)
    assert sha256(pieces_of(raw)) == cloud.root(guest)
    cloud.nova.call("cleanup", guest)


def test_an_unshelved_instance_is_flattened(cloud: Cloud) -> None:
    guest = cloud.spawn()
    assert cloud.operator.call("parent", "vms", f"{guest}_disk") == ["images", cloud.image, "snap"]
    for _ in range(2):
        cloud.nova.call("flatten", guest)
        assert cloud.operator.call("parent", "vms", f"{guest}_disk") is None
    cloud.glance.call("delete", cloud.url)
    assert cloud.root(guest, SIZE) == cloud.sha256
    cloud.nova.call("cleanup", guest)


def test_the_space_of_the_pool_and_libvirt_s_words_for_a_disk(cloud: Cloud) -> None:
    info = cloud.nova.call("pool_info")
    assert set(info) == {"total", "free", "used"}
    assert info["total"] > info["free"] > 0
    guest = cloud.spawn()
    xml = cloud.nova.call("xml", guest)
    assert f'name="vms/{guest}_disk"' in xml
    assert '<auth username="nova">' in xml
    assert '<host name="127.0.0.1" port="' in xml
    cloud.nova.call("cleanup", guest)


def test_a_guest_s_disk_is_an_nbd_export(cloud: Cloud, target: Target, tmp_path: Path) -> None:
    """`cowshed compat disk` makes of Nova's own words what any of QEMU's programs opens."""
    if target.store is None:
        pytest.skip("QEMU opens a cluster's disk as it is")
    guest = cloud.spawn()
    (tmp_path / "disk.xml").write_text(cloud.nova.call("xml", guest))
    source = ElementTree.fromstring(run(target.store, "compat", "disk", tmp_path / "disk.xml")).find("source")
    assert source is not None
    host = source.find("host")
    assert host is not None
    assert source.attrib == {"protocol": "nbd", "name": f"vms/{guest}_disk"}
    url = f"nbd+unix:///{source.attrib['name']}?socket={host.attrib['socket']}"
    subprocess.run(["qemu-img", "convert", "-O", "raw", url, tmp_path / "raw"], check=True)
    assert sha256(pieces_of(tmp_path / "raw")) == cloud.sha256
    cloud.nova.call("cleanup", guest)


def test_what_is_not_there(cloud: Cloud) -> None:
    guest = str(uuid.uuid4())
    assert cloud.nova.call("exists", guest) is False
    calls: list[Callable[[], object]] = [
        lambda: cloud.nova.call("size", guest),
        lambda: cloud.nova.call("resize", guest, GiB),
        lambda: cloud.nova.call("revert_resize", guest),
    ]
    for call in calls:
        with pytest.raises(DriverError) as missing:
            call()
        assert missing.value.kind == "ImageNotFound"
    cloud.nova.call("cleanup", guest)
    real = cloud.spawn()
    with pytest.raises(DriverError) as no_snapshot:
        cloud.nova.call("revert_resize", real)
    assert no_snapshot.value.kind == "SnapshotNotFound"
    cloud.nova.call("cleanup", real)
