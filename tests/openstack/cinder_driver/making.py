"""Makes the sites: a real cluster's, or that of a new cowshed store."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import cowshed
from compat.entering import clustered
from openstack.cinder_driver.pools import OWNERS
from openstack.cinder_driver.site import Site

REAL_CONF = "COWSHED_TEST_CEPH_CONF"
"""Names the ceph.conf of a real cluster; where it is set, the tests run against that and the real modules."""
REAL_MODULES = Path("/usr/lib/python3/dist-packages")
PACKAGE = Path(cowshed.__file__).resolve().parent


def real_site(work: Path) -> Site:
    """The real cluster; `work` gets a folder with nothing but its modules: no other package is shadowed."""
    modules = work / "modules"
    modules.mkdir()
    for name in ("rbd", "rados"):
        file = REAL_MODULES / f"{name}.{sysconfig.get_config_var('SOABI')}.so"
        if not file.exists():
            pytest.skip(f"no {file} here (Debian's python3-{name}, for its own Python)")
        (modules / file.name).symlink_to(file)
    return Site(Path(os.environ[REAL_CONF]), modules)


@contextmanager
def cowshed_site(work: Path) -> Iterator[Site]:
    """A new store behind a daemon, entered by address and key as a cluster is; whole at the end."""
    compat = PACKAGE / "compat"
    if missing := [name for name in ("rbd", "rados") if not (compat / "modules" / f"{name}.py").exists()]:
        pytest.skip(f"cowshed has no module {' and '.join(missing)} yet")
    with clustered(work) as cluster:
        with cowshed.open(cluster.store) as store:
            for pool in OWNERS:
                store.create_pool(pool)
        for user in OWNERS.values():
            cluster.keyring(user)
        conf = work / "ceph.conf"
        conf.write_text(f"[global]\nmon_host = {cluster.mon_host}\nkeyring = {work}/$cluster.$name.keyring\n")
        yield Site(conf, compat / "modules", compat / "bin", PACKAGE.parent, cluster.store)
    with cowshed.open(cluster.store) as store:
        assert store.check() == []
