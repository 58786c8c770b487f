"""A cluster for tests: the one that `COWSHED_TEST_CEPH_CONF` names, or one of this run's own where it says
`start`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ceph.one_node import Cluster

VARIABLE = "COWSHED_TEST_CEPH_CONF"


@pytest.fixture(scope="session")
def ceph_conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The ceph.conf of a running cluster; skips where none is named."""
    named = os.environ.get(VARIABLE, "")
    if not named:
        pytest.skip(
            f"{VARIABLE} names no cluster's ceph.conf (tests/ceph/cluster start DIR makes one; or `start`)"
        )
    if named != "start":
        yield Path(named)
        return
    cluster = Cluster(tmp_path_factory.mktemp("ceph"))
    cluster.start()
    try:
        yield cluster.conf
    finally:
        cluster.stop()
