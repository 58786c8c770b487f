"""os-brick's RBD connector: a volume as a file of Python's, found from monitors and a keyring alone."""

from __future__ import annotations

import base64
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from attach.host import needs_blocks
from openstack.conftest import Start
from openstack.harness.contents import pieces_of, sha256, write_image
from openstack.harness.process import DriverError, Service
from openstack.harness.target import Target

MiB = 1 << 20
SIZE = 5 * MiB + 512


@pytest.fixture
def operator(start: Start) -> Service:
    return start("operator")


@pytest.fixture
def brick(start: Start) -> Service:
    return start("brick")


@pytest.fixture
def volume(operator: Service, tmp_path: Path) -> Iterator[str]:
    """A volume with data, by its name."""
    name = f"volume-{uuid.uuid4()}"
    operator.call("create", "volumes", name, SIZE)
    write_image(tmp_path / "volume", SIZE, seed=21)
    operator.call("write", "volumes", name, 0, str(tmp_path / "volume"))
    yield name
    operator.call("remove", "volumes", name)


def test_a_volume_is_read_and_written_through_its_handle(
    brick: Service, operator: Service, volume: str, tmp_path: Path
) -> None:
    assert brick.call("connect", volume) == "RBDVolumeIOWrapper"
    hosts, ports = brick.call("monitors")
    text = brick.call("conf_text", volume)
    assert "mon_host = " + ",".join(f"{h}:{p}" for h, p in zip(hosts, ports, strict=True)) in text
    assert "[client.cinder]" in text
    assert brick.call("valid", volume) is True
    assert brick.call("end", volume) == SIZE
    assert brick.call("read", volume) == {"size": SIZE, "sha256": operator.call("sha256", "volumes", volume)}
    write_image(tmp_path / "more", MiB, seed=22)
    brick.call("write", volume, 2 * MiB + 512, str(tmp_path / "more"))
    whole = bytearray((tmp_path / "volume").read_bytes())
    whole[2 * MiB + 512 : 3 * MiB + 512] = (tmp_path / "more").read_bytes()
    (tmp_path / "expected").write_bytes(whole)
    assert brick.call("read", volume)["sha256"] == operator.call("sha256", "volumes", volume)
    brick.call("disconnect", volume)
    assert operator.call("sha256", "volumes", volume) == sha256(pieces_of(tmp_path / "expected"))


def test_a_connected_volume_grows(brick: Service, operator: Service, volume: str) -> None:
    brick.call("connect", volume)
    operator.call("resize", "volumes", volume, 2 * SIZE)
    assert brick.call("extended", volume) == 2 * SIZE
    assert brick.call("end", volume) == 2 * SIZE
    brick.call("disconnect", volume)


@pytest.fixture(scope="module", params=["path", "address"])
def local_brick(
    start: Start, target: Target, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Service:
    """One that makes volumes devices of the host, by the store's path or by its daemon's address."""
    if target.name == "ceph":
        pytest.skip("needs Linux's own rbd client, and its rules for udev")
    work = tmp_path_factory.mktemp("local")
    conf = work / "ceph.conf"
    if request.param == "path":
        conf.write_text(target.conf.read_text())
    else:
        monitors = ",".join(":".join(pair) for pair in zip(*start("brick").call("monitors"), strict=True))
        conf.write_text(
            f"[global]\nmon_host = {monitors}\nkeyring = {target.keyrings}/$cluster.$name.keyring\n"
        )
    return start("brick", local=True, environment={"CEPH_CONF": str(conf), "COWSHED_RUN": f"{work}/run"})


@contextmanager
def attached(brick: Service, volume: str) -> Iterator[Path]:
    device = brick.call("connect", volume)
    try:
        yield Path(device)
    finally:
        brick.call("disconnect", volume)


@needs_blocks
def test_a_volume_is_a_device_of_the_host(
    local_brick: Service, operator: Service, volume: str, tmp_path: Path
) -> None:
    whole = bytearray((tmp_path / "volume").read_bytes())
    with attached(local_brick, volume) as device:
        assert device == Path("/dev/rbd/volumes", volume)
        assert device.is_block_device()
        assert local_brick.call("valid", volume) is True
        assert device.read_bytes() == whole
        # Another who wants it on this host gets the same device.
        assert local_brick.call("connect", volume) == str(device)
        whole[MiB : 2 * MiB] = bytes(MiB)
        with device.open("r+b") as disk:
            disk.seek(MiB)
            disk.write(bytes(MiB))
    assert not device.is_symlink()
    assert operator.call("sha256", "volumes", volume) == sha256([bytes(whole)])


@needs_blocks
def test_a_volume_that_is_not_there_is_no_device(local_brick: Service) -> None:
    volume = f"volume-{uuid.uuid4()}"
    with pytest.raises(DriverError) as missing:
        local_brick.call("connect", volume)
    assert missing.value.kind == "ProcessExecutionError"
    assert volume in missing.value.text
    assert not Path("/dev/rbd/volumes", volume).is_symlink()


def test_a_volume_that_is_not_there(brick: Service) -> None:
    with pytest.raises(DriverError) as missing:
        brick.call("connect", f"volume-{uuid.uuid4()}")
    assert missing.value.kind == "ImageNotFound"


def test_a_key_that_is_wrong_lets_no_one_in(
    start: Start, volume: str, target: Target, tmp_path: Path
) -> None:
    if target.name == "ceph":
        pytest.skip("a cluster's client goes on trying with a wrong key for five minutes")
    keyrings = tmp_path / "keyrings"
    keyrings.mkdir()
    # A key's form: its kind, when it was made, its length, its bytes.
    key = base64.b64encode(struct.pack("<HIIH", 1, 1_600_000_000, 0, 16) + bytes(range(16))).decode()
    (keyrings / "ceph.client.cinder.keyring").write_text(f"[client.cinder]\n\tkey = {key}\n")
    with pytest.raises(DriverError) as refused:
        start("brick", keyrings=str(keyrings)).call("connect", volume)
    assert refused.value.kind == "BrickException"
