"""Pools that a client of a daemon knows without asking, and how it learns of what is different."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compat.entering import Cluster, clustered
from cowshed.compat import rados, rbd
from cowshed.compat.rados import known
from cowshed.compat.rados.known import KNOWN, KnownPools
from cowshed.remote import RemoteStore
from serve.daemons import run


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with clustered(tmp_path, "--insecure") as cluster:
        run(cluster.store, "pool", "create", "vms")
        yield cluster


def client(cluster: Cluster) -> rados.Rados:
    return rados.Rados(conf={"cowshed": str(cluster.store)})


class Asked:
    """How often the daemon was asked for its pools."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        pools = RemoteStore.pools

        def counted(store: RemoteStore) -> object:
            self.times += 1
            return pools(store)

        monkeypatch.setattr(RemoteStore, "pools", counted)


def test_one_question_serves_all_clients_for_a_while(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch)
    for _ in range(3):
        with client(cluster) as one, one.open_ioctx("vms") as vms, one.open_ioctx("rbd"):
            assert rbd.RBD().list(vms) == []
    assert asked.times == 1
    monkeypatch.setattr(known, "KNOWN_SECONDS", 0.0)
    with client(cluster) as one:
        for times in (2, 3):
            KNOWN.forget(one.store)
            with one.open_ioctx("vms") as vms:
                assert vms.get_pool_name() == "vms"
            assert asked.times > times


def test_a_pool_that_is_not_known_is_asked_for(cluster: Cluster) -> None:
    with client(cluster) as one:
        with pytest.raises(rados.ObjectNotFound, match="error opening pool 'new'"):
            one.open_ioctx("new")
        run(cluster.store, "pool", "create", "new")
        with one.open_ioctx("new") as new:
            assert new.get_pool_id() == one.pool_lookup("new")


def test_a_pool_that_this_process_deleted_is_not_known(cluster: Cluster) -> None:
    with client(cluster) as one:
        one.open_ioctx("vms").close()
        with client(cluster) as other:
            other.delete_pool("vms")
        with pytest.raises(rados.ObjectNotFound):
            one.open_ioctx("vms")


def test_a_pool_that_another_deleted_is_missed_by_what_uses_it(cluster: Cluster) -> None:
    with client(cluster) as one:
        one.open_ioctx("vms").close()
        run(cluster.store, "pool", "rm", "vms")
        with one.open_ioctx("vms") as vms:
            with pytest.raises(rbd.ImageNotFound):
                rbd.RBD().create(vms, "a", 1 << 20)
            with pytest.raises(rados.ObjectNotFound):
                vms.stat("o")
            with pytest.raises(rados.ObjectNotFound):
                vms.get_pool_id()
            with pytest.raises(rados.ObjectNotFound):
                vms.get_pool_name()


def test_a_store_of_this_process_is_asked_itself(tmp_path: Path) -> None:
    import cowshed

    cowshed.init(tmp_path / "store")
    with cowshed.open(tmp_path / "store") as store:
        pools = KnownPools()
        pools.learn(store, ["rbd"])
        assert not pools.has(store, "rbd")
        pools.forget(store)
