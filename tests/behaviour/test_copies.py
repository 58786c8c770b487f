"""Copies: with and without snapshots, in no time and sharing everything."""

from __future__ import annotations

import random

import pytest

from cowshed.errors import AlreadyExists, InvalidArgument, NotFound
from cowshed.store import Store

BLOCK = 4096
SIZE = 32 * BLOCK


def content(store: Store, spec: str) -> bytes:
    with store.open(spec, read_only=True) as image:
        return image.read(0, image.size)


def fill(store: Store, spec: str, seed: int) -> None:
    dice = random.Random(seed)
    with store.open(spec) as image:
        for _ in range(6):
            image.write(dice.randrange(0, image.size - 5000), dice.randbytes(5000))


@pytest.fixture(autouse=True)
def image_a(store: Store) -> None:
    """Three snapshots, a change behind each, metadata."""
    store.create("a", SIZE, order=20)
    for number in (1, 2, 3):
        fill(store, "a", number)
        store.create_snapshot(f"a@{number}")
    store.resize("a", SIZE + 3 * BLOCK)
    fill(store, "a", 4)
    store.set_metadata("a", "colour", "brown")


def test_copy(store: Store) -> None:
    before = store.store_usage().used
    store.copy("a", "b")
    assert store.store_usage().used == before
    assert content(store, "b") == content(store, "a")
    stat = store.stat("b")
    assert (stat.order, stat.parent, stat.snapshot_count) == (20, None, 0)
    assert store.metadata("b") == {"colour": "brown"}
    store.copy("a@2", "c", order=21)
    assert content(store, "c") == content(store, "a@2")
    assert store.stat("c").order == 21
    assert store.children("a") == []
    kept = content(store, "a")
    fill(store, "b", 5)
    assert content(store, "a") == kept != content(store, "b")


def test_a_copy_outlives_its_source(store: Store) -> None:
    kept = content(store, "a")
    store.copy("a", "b")
    store.purge_snapshots("a")
    store.remove("a")
    store.reclaim()
    assert content(store, "b") == kept
    store.remove("b")
    store.reclaim()
    assert store.store_usage().used == 0


def test_deep_copy(store: Store) -> None:
    before = store.store_usage().used
    store.protect_snapshot("a@2")
    store.deep_copy("a", "b")
    assert store.store_usage().used == before
    names = [snapshot.name for snapshot in store.snapshots("b")]
    assert names == ["1", "2", "3"]
    assert [snapshot.size for snapshot in store.snapshots("b")] == [SIZE] * 3
    for at in ("", "@1", "@2", "@3"):
        assert content(store, f"b{at}") == content(store, f"a{at}")
    for spec in ("a", "b"):
        store.create_snapshot(f"{spec}@4")
    changes = {}
    for spec in ("a", "b"):
        with store.open(f"{spec}@4") as image:
            changes[spec] = [list(image.diff(start)) for start in (None, "1", "2", "3")]
    assert changes["a"] == changes["b"]
    # The copy is a whole image of its own.
    assert not store.snapshots("b")[1].protected
    store.rollback("b@1")
    assert content(store, "b") == content(store, "a@1")
    store.purge_snapshots("b")
    store.remove("b")


def test_deep_copy_of_a_snapshot(store: Store) -> None:
    store.deep_copy("a@2", "b")
    assert [snapshot.name for snapshot in store.snapshots("b")] == ["1", "2"]
    assert content(store, "b") == content(store, "a@2")


def test_deep_copies_of_clones(store: Store) -> None:
    store.clone("a@1", "child")
    store.deep_copy("child", "same")
    store.deep_copy("child", "flat", flatten=True)
    assert str(store.stat("same").parent) == "rbd/a@1"
    assert store.stat("flat").parent is None
    assert [str(child) for child in store.children("a@1")] == ["rbd/child", "rbd/same"]


def test_what_cannot_be_copied(store: Store) -> None:
    store.create("taken", SIZE)
    for copy in (store.copy, store.deep_copy):
        with pytest.raises(AlreadyExists):
            copy("a", "taken")
        with pytest.raises(NotFound):
            copy("nothing", "b")
        with pytest.raises(NotFound):
            copy("a@nothing", "b")
        with pytest.raises(NotFound):
            copy("a", "nowhere/b")
        with pytest.raises(InvalidArgument):
            copy("a", "b", order=5)
    assert sorted(store.images("rbd")) == ["a", "taken"]


def test_sparsify(store: Store) -> None:
    store.create("s", SIZE + 100)
    with store.open("s") as image:
        image.write(0, b"x" * (SIZE + 100))
        for block in (1, 2, 3, 31):
            # In two pieces, so that neither is a whole block of zeros.
            image.write(block * BLOCK, bytes(2000))
            image.write(block * BLOCK + 2000, bytes(BLOCK - 2000))
        image.write(SIZE, bytes(50))
        image.write(SIZE + 50, bytes(50))
        before = image.read(0, image.size)
    referenced = store.usage("s").referenced
    freed = store.sparsify("s")
    assert freed == referenced - store.usage("s").referenced
    assert freed >= 4 * BLOCK
    assert content(store, "s") == before
    assert store.sparsify("s") == 0
    with pytest.raises(NotFound):
        store.sparsify("nothing")
