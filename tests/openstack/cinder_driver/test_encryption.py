"""Encrypted volumes: LUKS images that Cinder makes with qemu-img and imports with the program `rbd`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from openstack.cinder_driver.conftest import tool
from openstack.cinder_driver.content import GIB
from openstack.cinder_driver.pools import opened

if TYPE_CHECKING:
    from openstack.cinder_driver.service import Cinder

KEY = bytes(range(32))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """A type's encryption, which the database would know, and its key, which Barbican would."""
    from cinder.volume import volume_utils
    from cinder.volume.drivers import rbd

    encryption = {"provider": "luks", "cipher": "aes-xts-plain64", "key_size": 256, "encryption_key_id": "k"}
    monkeypatch.setattr(volume_utils, "check_encryption_provider", lambda *_: encryption)
    manager = SimpleNamespace(get=lambda *_: SimpleNamespace(get_encoded=lambda: KEY))
    monkeypatch.setattr(rbd.key_manager, "API", lambda *_: manager)


@pytest.mark.usefixtures("keys")
def test_an_encrypted_volume_is_opened_by_its_key(cinder: Cinder, tmp_path: Path) -> None:
    tool("qemu-img", "qemu-utils")
    tool("qemu-io", "qemu-utils")
    tool("rbd", "ceph-common")
    volume = cinder.ledger.volume("a", 1, encryption_key_id="k", obj_context=cinder.context)
    assert cinder.driver.create_volume(volume) == {}
    with opened(cinder.conf, "volumes") as ioctx, cinder.driver.rbd.Image(ioctx, volume.name) as image:
        assert image.read(0, 6) == b"LUKS\xba\xbe"
        assert image.stat()["order"] == 22
        # The header comes on top of what the user asked for.
        size = image.size()
        assert GIB < size < GIB + (64 << 20)
    snapshot = cinder.ledger.snapshot("s", volume)
    cinder.driver.create_snapshot(snapshot)
    larger = cinder.ledger.volume("b", 3, encryption_key_id="k")
    cinder.driver.create_volume_from_snapshot(larger, snapshot)
    with opened(cinder.conf, "volumes") as ioctx, cinder.driver.rbd.Image(ioctx, larger.name) as image:
        assert image.size() == size + 2 * GIB
    file = tmp_path / "exported"
    words = ["rbd", "export", "--pool", "volumes", volume.name, str(file), *cinder.driver._ceph_args()]
    subprocess.run(words, check=True, capture_output=True)
    words = ["qemu-io", "--object", f"secret,id=key,data={KEY.hex()}", "--image-opts"]
    words += ["-r", "-c", "read 0 4k", f"driver=luks,key-secret=key,file.filename={file}"]
    subprocess.run(words, check=True, capture_output=True)
