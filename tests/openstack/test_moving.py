"""From a store to a real cluster, by the very lines that docs/openstack.md shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from openstack.conftest import PACKAGE, Start, real_modules
from openstack.harness.contents import write_image
from openstack.harness.process import Service
from openstack.harness.target import Target
from serve.daemons import run

MiB = 1 << 20
PAGE = Path(__file__).resolve().parents[2] / "docs" / "openstack.md"


def shown(language: str) -> list[str]:
    """The blocks of that language in the page's part on moving."""
    part = PAGE.read_text().split("\n## Moving to a cluster\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)


@pytest.fixture
def cluster(target: Target, tmp_path: Path, request: pytest.FixtureRequest) -> Target:
    if target.name == "ceph":
        pytest.skip("one move from cowshed is enough")
    conf: Path = request.getfixturevalue("ceph_conf")
    return Target("ceph", conf, real_modules(tmp_path / "modules"), None, conf.parent)


@pytest.fixture
def there(cluster: Target, tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    """Services on the cluster."""
    with ExitStack() as stack:
        yield lambda room: stack.enter_context(Service(cluster, room, tmp_path / room))


def lines(text: str, target: Target, cluster: Target) -> None:
    """Run what the page shows, in a shell that has `cowshed`."""
    command = f'cowshed() {{ {sys.executable} -m cowshed "$@"; }}; set -eu -o pipefail; '
    environment = {**cluster.environment, "FROM": str(target.conf), "TO": str(cluster.conf)}
    environment |= {"PYTHONPATH": str(PACKAGE.parent), "COWSHED_PYTHON": sys.executable}
    ended = subprocess.run(
        ["bash", "-c", command + text], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_a_cloud_moves(
    start: Start,
    target: Target,
    cluster: Target,
    there: Callable[[str], Service],
    tmp_path: Path,
) -> None:
    if shutil.which("rbd") is None:
        pytest.skip("the real rbd is not here (Debian's ceph-common)")
    assert target.store
    glance, nova, operator = start("glance"), start("nova", eventlet=False), start("operator")
    image, guest, volume = str(uuid.uuid4()), str(uuid.uuid4()), f"volume-{uuid.uuid4()}"
    content = write_image(tmp_path / "image", 6 * MiB, seed=31)
    url = glance.call("add", image, str(tmp_path / "image"))["url"]
    nova.call("know", image, url, str(tmp_path / "image"))
    nova.call("spawn", guest, image, 0)
    operator.call("create", "volumes", volume, 3 * MiB)
    write_image(tmp_path / "more", MiB, seed=32)
    operator.call("write", "volumes", volume, MiB, str(tmp_path / "more"))
    operator.call("put", "backups", f"{volume}.meta", "what Cinder knows")
    every = [(pool, name) for pool in ("images", "vms", "volumes") for name in operator.call("names", pool)]
    for pool, name in every:
        run(target.store, "snap", "create", f"{pool}/{name}@move")
    whole, after = shown("sh")
    try:
        lines(whole, target, cluster)
        operator.call("write", "vms", f"{guest}_disk", 2 * MiB, str(tmp_path / "more"))
        operator.call("write", "volumes", volume, 0, str(tmp_path / "more"))
        lines(after, target, cluster)
        (objects,) = shown("python")
        python = {**cluster.environment, "PYTHONPATH": f"{cluster.modules}:{PACKAGE.parent}"}
        words = [sys.executable, "-", str(target.conf), str(cluster.conf)]
        subprocess.run(words, input=objects, text=True, env=python, check=True)
        moved = there("operator")
        for pool, name in every:
            assert moved.call("sha256", pool, name) == operator.call("sha256", pool, name), (pool, name)
            assert moved.call("snaps", pool, name) == operator.call("snaps", pool, name)
        assert moved.call("sha256", "images", image, "snap") == content
        assert moved.call("protected", "images", image, "snap") is True
        assert moved.call("parent", "vms", f"{guest}_disk") is None
        assert moved.call("got", "backups", f"{volume}.meta") == "what Cinder knows"
        # The services go on there: the image is read, cloned and removed, the guest's disk goes.
        new_glance, new_nova = there("glance"), there("nova")
        new_url = f"rbd://{new_nova.call('fsid')}/images/{image}/snap"
        assert new_glance.call("read", new_url)["sha256"] == content
        new_nova.call("know", image, new_url, str(tmp_path / "image"))
        second = str(uuid.uuid4())
        new_nova.call("spawn", second, image, 0)
        assert moved.call("parent", "vms", f"{second}_disk") == ["images", image, "snap"]
        for each in (guest, second):
            new_nova.call("cleanup", each)
            assert f"{each}_disk" not in moved.call("names", "vms")
        new_glance.call("delete", new_url)
        assert image not in moved.call("names", "images")
    finally:
        moved = there("operator")
        for pool, name in every:
            if name in moved.call("names", pool):
                moved.call("remove", pool, name)
    nova.call("cleanup", guest)
    glance.call("delete", url)
    operator.call("remove", "volumes", volume)
