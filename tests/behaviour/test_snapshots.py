"""Snapshots of an image, and what came before them."""

from __future__ import annotations

import random

import pytest

from cowshed.errors import AlreadyExists, Busy, InvalidArgument, NotFound
from cowshed.store import Extent, Store

BLOCK = 4096
SIZE = 16 * BLOCK


@pytest.fixture(autouse=True)
def image_a(store: Store) -> None:
    store.create("a", SIZE)


def write(store: Store, spec: str, offset: int, data: bytes) -> None:
    with store.open(spec) as image:
        image.write(offset, data)


def read(store: Store, spec: str, length: int = SIZE) -> bytes:
    with store.open(spec, read_only=True) as image:
        return image.read(0, length)


def test_a_snapshot_stays_as_it_was(store: Store) -> None:
    write(store, "a", 0, b"first")
    info = store.create_snapshot("a@1")
    assert (info.name, info.size, info.protected) == ("1", SIZE, False)
    write(store, "a", 3, b"second")
    assert read(store, "a@1", 10) == b"first" + bytes(5)
    assert read(store, "a", 10) == b"firsecond" + bytes(1)


def test_many_snapshots_each_its_own_content(store: Store) -> None:
    for i in range(100):
        write(store, "a", (i % 16) * BLOCK, bytes([i + 1]) * BLOCK)
        store.create_snapshot(f"a@{i}")
    gone = set(random.Random(7).sample(range(100), 80))
    for i in gone:
        store.remove_snapshot(f"a@{i}")
    for i in set(range(100)) - gone:
        assert read(store, f"a@{i}")[(i % 16) * BLOCK] == i + 1
    assert store.stat("a").snapshot_count == 20


def test_listing_and_ids(store: Store) -> None:
    store.create("b", SIZE)
    made = [store.create_snapshot(spec) for spec in ("a@z", "b@z", "a@a", "b@k", "a@m")]
    assert [s.id for s in made] == sorted({s.id for s in made})
    assert store.snapshots("a") == [made[0], made[2], made[4]]
    store.remove_snapshot("a@m")
    assert store.create_snapshot("a@m").id > made[4].id


def test_names_are_taken_once(store: Store) -> None:
    store.create_snapshot("a@1")
    with pytest.raises(AlreadyExists):
        store.create_snapshot("a@1")
    with pytest.raises(NotFound):
        store.create_snapshot("b@1")
    store.create_snapshot("a@2")
    with pytest.raises(AlreadyExists):
        store.rename_snapshot("a@1", "a@2")


def test_rename(store: Store) -> None:
    info = store.create_snapshot("a@1")
    store.rename_snapshot("a@1", "a@one")
    (after,) = store.snapshots("a")
    assert (after.id, after.name) == (info.id, "one")
    with pytest.raises(NotFound):
        store.stat("a@1")
    store.create("b", SIZE)
    with pytest.raises(InvalidArgument):
        store.rename_snapshot("a@one", "b@one")


def test_protection(store: Store) -> None:
    store.create_snapshot("a@1")
    with pytest.raises(InvalidArgument):
        store.unprotect_snapshot("a@1")
    store.protect_snapshot("a@1")
    assert store.stat("a@1").protected is True
    with pytest.raises(Busy):
        store.protect_snapshot("a@1")
    with pytest.raises(Busy, match="unprotect"):
        store.remove_snapshot("a@1")
    store.rename_snapshot("a@1", "a@2")
    assert [s.protected for s in store.snapshots("a")] == [True]
    store.unprotect_snapshot("a@2")
    assert store.stat("a@2").protected is False
    store.remove_snapshot("a@2")


def test_unprotect_with_clones(store: Store) -> None:
    store.create_snapshot("a@1")
    store.protect_snapshot("a@1")
    store.clone("a@1", "b")
    store.unprotect_snapshot("a@1")


def test_purge(store: Store) -> None:
    assert store.purge_snapshots("a") == 0
    for i in range(5):
        store.create_snapshot(f"a@{i}")
    assert store.purge_snapshots("a") == 5
    assert store.snapshots("a") == []
    store.remove("a")


def test_purge_leaves_the_protected(store: Store) -> None:
    for i in range(6):
        write(store, "a", 0, bytes([i + 1]))
        store.create_snapshot(f"a@{i}")
    store.protect_snapshot("a@2")
    store.protect_snapshot("a@5")
    with pytest.raises(Busy, match="2, 5"):
        store.purge_snapshots("a")
    assert [s.name for s in store.snapshots("a")] == ["2", "5"]
    assert read(store, "a@2", 1) == b"\3"


def test_purge_of_many_tells_how_far_it_is(store: Store) -> None:
    for i in range(1200):
        store.create_snapshot(f"a@{i}")
    seen: list[tuple[int, int]] = []
    assert store.purge_snapshots("a", progress=lambda done, total: seen.append((done, total))) == 1200
    assert seen[0][1] == 1200
    assert seen[0][0] < 1200
    assert seen[-1] == (1200, 1200)
    assert seen == sorted(seen)
    assert store.stat("a").snapshot_count == 0


def test_purge_stops_where_progress_says(store: Store) -> None:
    for i in range(1200):
        store.create_snapshot(f"a@{i}")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.purge_snapshots("a", progress=stop)
    assert store.check() == []
    left = store.stat("a").snapshot_count
    assert 0 < left < 1200
    assert store.purge_snapshots("a") == left


def test_rollback_keeps_newer_snapshots(store: Store) -> None:
    contents = []
    for i in range(4):
        write(store, "a", i * BLOCK, bytes([i + 1]) * 5000)
        store.create_snapshot(f"a@{i}")
        contents.append(read(store, "a"))
    for i in (1, 3, 0, 2):
        store.rollback(f"a@{i}")
        assert read(store, "a") == contents[i]
        write(store, "a", 0, b"after")
    assert [read(store, f"a@{i}") for i in range(4)] == contents


def test_rollback_brings_back_the_size(store: Store) -> None:
    write(store, "a", 0, b"x" * SIZE)
    store.create_snapshot("a@1")
    store.resize("a", BLOCK, allow_shrink=True)
    with store.open("a") as image:
        store.rollback("a@1")
        assert image.size == SIZE
        assert image.read(0, SIZE) == b"x" * SIZE
    store.resize("a", 2 * SIZE)
    assert store.stat("a@1").size == SIZE
    store.rollback("a@1")
    assert store.stat("a").size == SIZE


def test_diff_is_exact(store: Store) -> None:
    write(store, "a", 0, b"x" * (8 * BLOCK))
    store.create_snapshot("a@1")
    with store.open("a") as image:
        assert list(image.diff("1")) == []
        image.write(BLOCK + 1, b"y")
        image.discard(3 * BLOCK, 2 * BLOCK)
        image.write(12 * BLOCK, b"z")
        expected = [
            Extent(BLOCK, BLOCK, True),
            Extent(3 * BLOCK, 2 * BLOCK, False),
            Extent(12 * BLOCK, BLOCK, True),
        ]
        assert list(image.diff("1")) == expected
    store.create_snapshot("a@2")
    with store.open("a@2") as image:
        assert list(image.diff("1")) == expected
        assert list(image.diff("2")) == []
    with store.open("a@1") as image, pytest.raises(InvalidArgument):
        image.diff("2")


def test_diff_after_shrinking_ends_at_the_end(store: Store) -> None:
    write(store, "a", 0, b"x" * SIZE)
    store.create_snapshot("a@1")
    store.resize("a", 4 * BLOCK, allow_shrink=True)
    with store.open("a") as image:
        assert list(image.diff("1")) == []
    store.resize("a", SIZE)
    with store.open("a") as image:
        assert list(image.diff("1")) == [Extent(4 * BLOCK, 12 * BLOCK, False)]


def test_stat_of_a_snapshot(store: Store) -> None:
    info = store.create_snapshot("a@1")
    stat = store.stat("a@1")
    assert (stat.name, stat.snapshot, stat.size, stat.protected) == ("a", "1", SIZE, False)
    assert stat.id == store.stat("a").id
    assert stat.modified == info.created
