"""The space account, exact to the block, and reclaiming."""

from __future__ import annotations

import uuid

import pytest

from behaviour.engines import Engine
from cowshed.store import Store, Usage

BLOCK = 4096
SIZE = 64 * BLOCK


def test_usage_is_exact(store: Store) -> None:
    store.create("a", SIZE)
    with store.open("a") as image:
        image.write(0, b"x" * (10 * BLOCK))
    assert store.usage("a") == Usage(SIZE, 10 * BLOCK, 10 * BLOCK)
    store.create_snapshot("a@1")
    assert store.usage("a") == Usage(SIZE, 10 * BLOCK, 0)
    assert store.usage("a@1") == Usage(SIZE, 10 * BLOCK, 0)
    with store.open("a") as image:
        image.write(5, b"y")
        image.write(20 * BLOCK, b"y")
    assert store.usage("a") == Usage(SIZE, 11 * BLOCK, 2 * BLOCK)
    assert store.usage("a@1") == Usage(SIZE, 10 * BLOCK, BLOCK)


def test_everything_comes_back(store: Store) -> None:
    empty = store.store_usage()
    store.create("a", SIZE)
    for i in range(10):
        with store.open("a") as image:
            image.write(i * BLOCK, b"x" * (20 * BLOCK))
        store.create_snapshot(f"a@{i}")
        store.clone(f"a@{i}", f"c{i}")
        with store.open(f"c{i}") as image:
            image.write(0, b"y" * SIZE)
    full = store.store_usage()
    assert (full.images, full.snapshots, full.provisioned) == (11, 10, 11 * SIZE)
    assert full.used > 0
    store.purge_snapshots("a")
    store.remove("a")
    for i in range(10):
        store.remove(f"c{i}")
    store.reclaim()
    after = store.store_usage()
    assert (after.used, after.hidden, after.versions, after.hidden_versions) == (0, 0, 0, 0)
    assert after.metadata_bytes <= empty.metadata_bytes + 64
    assert not after.reclaim_pending


def test_hidden_space_comes_back(store: Store) -> None:
    store.create("a", SIZE)
    with store.open("a") as image:
        image.write(0, b"x" * SIZE)
    store.create_snapshot("a@1")
    for name in ("b", "c"):
        store.clone("a@1", name)
        with store.open(name) as image:
            image.write(0, b"y" * SIZE)
    with store.open("a") as image:
        image.discard(0, SIZE)
    store.remove_snapshot("a@1")
    store.reclaim()
    usage = store.store_usage()
    assert (usage.used, usage.hidden) == (2 * SIZE, 0)


def test_removal_with_progress_waits_for_the_space(store: Store) -> None:
    store.create("a", SIZE)
    with store.open("a") as image:
        image.write(0, b"x" * SIZE)
    seen: list[tuple[int, int]] = []
    store.remove("a", progress=lambda done, total: seen.append((done, total)))
    assert seen
    assert seen[-1][0] == seen[-1][1]
    assert store.store_usage().used == 0


def test_an_interrupted_removal_goes_on_later(store: Store) -> None:
    store.create("a", SIZE)
    with store.open("a") as image:
        image.write(0, b"x" * SIZE)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.remove("a", progress=stop)
    assert list(store.images("rbd")) == []
    assert store.check() == []
    store.reclaim()
    assert store.store_usage().used == 0


def test_the_id_is_the_stores_for_life(engine: Engine) -> None:
    with engine.open() as store:
        facts = store.facts()
        assert str(uuid.UUID(facts.id)) == facts.id
        assert 0 < facts.available <= facts.total
        store.create("a", 1 << 20)
        with store.open("a") as image:
            image.write(0, b"x" * 8192)
        assert store.pool_stats("rbd").referenced == 8192
        store.trash_move("a")
        assert store.pool_stats("rbd").referenced == 8192
    with engine.open() as store:
        assert store.facts().id == facts.id
        assert store.check() == []
