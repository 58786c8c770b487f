"""Long work on the daemon's side, watched from here: it waits for who watches, and stops where he says."""

from __future__ import annotations

import time

import pytest

from cowshed.errors import Busy, NotFound
from cowshed.remote import RemoteStore
from remote.daemon import ServedStore

MIB = 1 << 20
SNAPSHOTS = 10


@pytest.fixture(autouse=True)
def many_steps(daemon: ServedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image whose snapshots go two at a time."""
    monkeypatch.setattr("cowshed.local.snapshots._PURGE_AT_ONCE", 2)
    daemon.store.create("a", MIB)
    for i in range(SNAPSHOTS):
        daemon.store.create_snapshot(f"a@{i}")


def test_work_does_not_run_ahead_of_who_watches(daemon: ServedStore, store: RemoteStore) -> None:
    told: list[int] = []

    def look(done: int, total: int) -> None:
        if done < SNAPSHOTS:
            time.sleep(0.2)  # time enough for all of it, if it did not wait
            assert daemon.store.stat("a").snapshot_count == SNAPSHOTS - done
        told.append(done)

    assert store.purge_snapshots("a", progress=look) == SNAPSHOTS
    assert told[0] == 2
    assert told[-1] == SNAPSHOTS
    assert sorted(set(told)) == told


def test_it_stops_exactly_there(daemon: ServedStore, store: RemoteStore) -> None:
    def stop(done: int, total: int) -> None:
        assert (done, total) == (2, SNAPSHOTS)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.purge_snapshots("a", progress=stop)
    assert daemon.store.stat("a").snapshot_count == SNAPSHOTS - 2
    assert daemon.services.tasks.running() == []


def test_its_errors_are_its_own(daemon: ServedStore, store: RemoteStore) -> None:
    daemon.store.protect_snapshot("a@3")
    with pytest.raises(Busy, match="9 snapshots of 'rbd/a' removed") as raised:
        store.purge_snapshots("a", progress=lambda *_: None)
    assert "unprotect" in str(raised.value.hint)
    with pytest.raises(NotFound):
        store.purge_snapshots("none", progress=lambda *_: None)
