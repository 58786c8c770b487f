"""`target`: cowshed, and a real cluster where COWSHED_TEST_CEPH_CONF names one; `start`: services on it.

OpenStack's services take seconds to start, and live for months. A service that was started is that of every
later test that asks for one with the same settings.
"""

from __future__ import annotations

import importlib.util
import json
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import cowshed
from ceph.fixtures import ceph_conf  # noqa: F401 - a fixture
from compat.entering import clustered
from openstack.harness.process import Service
from openstack.harness.target import Target
from serve.daemons import run

POOLS = ("rbd", "images", "volumes", "vms", "backups")
PACKAGE = Path(cowshed.__file__).resolve().parent
REAL = Path("/usr/lib/python3/dist-packages")
NEEDED = {"glance_store": "glance_store", "nova": "nova", "os_brick": "os-brick"}

Start = Callable[..., Service]


def real_modules(folder: Path) -> Path:
    """A directory with librbd's own modules alone; skips where they are not here or not for this Python."""
    folder.mkdir()
    for name in ("rbd", "rados"):
        file = REAL / f"{name}.{sysconfig.get_config_var('SOABI')}.so"
        if not file.exists():
            pytest.skip(f"{file} is not here (Debian's python3-{name}, for this Python's version)")
        (folder / file.name).symlink_to(file)
    return folder


@pytest.fixture(scope="session", params=["cowshed", "ceph"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One for all tests of the run: they keep out of one another's way by names of their own."""
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)} (pip install 'cowshed[test-openstack]')")
    work = tmp_path_factory.mktemp("target")
    if request.param == "ceph":
        conf: Path = request.getfixturevalue("ceph_conf")
        yield Target("ceph", conf, real_modules(work / "modules"), None, conf.parent)
        return
    with clustered(work) as cluster:
        # Those that the real cluster of tests/ceph has.
        for pool in set(POOLS) - {line.strip() for line in run(cluster.store, "pool", "ls").splitlines()}:
            run(cluster.store, "pool", "create", pool)
        cluster.keyring("admin", "--role", "admin")
        for user in ("glance", "nova", "cinder", "cinder-backup"):
            cluster.keyring(user)
        conf = work / "ceph.conf"
        conf.write_text(run(cluster.store, "compat", "conf"))
        compat = PACKAGE / "compat"
        yield Target("cowshed", conf, compat / "modules", compat / "bin", work, PACKAGE.parent, cluster.store)
    with cowshed.open(cluster.store) as left:
        assert left.check() == []


@pytest.fixture(scope="session")
def start(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Services on the target, by what they are and how they are set: `start("glance", thin=True)`."""
    work = tmp_path_factory.mktemp("services")
    running: dict[str, Service] = {}
    with ExitStack() as stack:

        def begin(room: str, **settings: Any) -> Service:
            key = json.dumps([room, settings], sort_keys=True)
            if key not in running or running[key].process.poll() is not None:
                place = work / f"{room}{len(running)}"
                running[key] = stack.enter_context(Service(target, room, place, **settings))
            return running[key]

        yield begin
        # All at once; each is waited for then.
        for service in running.values():
            service.hang_up()


@pytest.fixture
def clone_format(target: Target, tmp_path: Path) -> Callable[[int], Path]:
    """The target's ceph.conf with the format of clones set to 1 or 2."""

    def conf(number: int) -> Path:
        # The file's name is the cluster's, and its keyrings' with it.
        file = tmp_path / f"clones{number}" / "ceph.conf"
        file.parent.mkdir(exist_ok=True)
        file.write_text(target.conf.read_text() + f"\n[client]\nrbd_default_clone_format = {number}\n")
        return file

    return conf
