"""Where OpenStack's drivers store: a daemon of cowshed's, and a Ceph cluster of one node beside it."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cowshed
from bench.lab import Lab
from bench.peers import Missing
from ceph.one_node import PROGRAMS, Cluster
from compat.entering import clustered
from openstack.harness.process import Service
from openstack.harness.target import Target
from serve.daemons import run

PACKAGE = Path(cowshed.__file__).resolve().parent
LIBRBD = Path("/usr/lib/python3/dist-packages")
POOLS = ("images", "volumes", "vms", "backups")
USERS = ("glance", "nova", "cinder", "cinder-backup")


@dataclass
class Cloud:
    """Glance, Nova and Cinder on one target, each a process of its own with its driver in it."""

    target: Target
    glance: Service
    nova: Service
    cinder: Service

    @property
    def name(self) -> str:
        return self.target.name


def librbd() -> list[Path]:
    """The files of the real modules, for this Python. Raises Missing."""
    found = [LIBRBD / f"{name}.{sysconfig.get_config_var('SOABI')}.so" for name in ("rbd", "rados")]
    for file in found:
        if not file.exists():
            raise Missing(f"{file} is not here: Debian's python3-rbd, run by the Python that it is for")
    return found


@contextmanager
def cloud(lab: Lab, target: Target) -> Iterator[Cloud]:
    """The services, started and configured."""
    work = lab.path(f"services-{target.name}")
    with ExitStack() as stack:

        def begin(room: str, **settings: Any) -> Service:
            return stack.enter_context(Service(target, room, work / room, **settings))

        yield Cloud(target, begin("glance", thin=True), begin("nova"), begin("cinder"))


@contextmanager
def cowshed_target(lab: Lab) -> Iterator[Target]:
    """`cowshed serve`, found by its control socket, and by its address where os-brick wants one; with TLS."""
    work = lab.path("cloud-cowshed")
    work.mkdir()
    with clustered(work) as cluster:
        for pool in POOLS:
            run(cluster.store, "pool", "create", pool)
        for user in USERS:
            cluster.keyring(user)
        conf = work / "ceph.conf"
        conf.write_text(run(cluster.store, "compat", "conf"))
        compat = PACKAGE / "compat"
        yield Target("cowshed", conf, compat / "modules", compat / "bin", work, PACKAGE.parent)


@contextmanager
def ceph_target(lab: Lab) -> Iterator[Target]:
    """A monitor, a manager and an OSD with BlueStore in a file, and Ceph's own delays. Raises Missing."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        raise Missing(
            f"{', '.join(missing)} not here (apt-get install ceph-mon ceph-osd ceph-mgr ceph-common)"
        )
    modules = lab.path("librbd")
    modules.mkdir()
    for file in librbd():
        (modules / file.name).symlink_to(file)
    cluster = Cluster(lab.path("cloud-ceph"), as_shipped=True, room=lab.sizes.cluster_room)
    cluster.start()
    try:
        yield Target("ceph", cluster.conf, modules, None, cluster.directory)
    finally:
        cluster.stop()
