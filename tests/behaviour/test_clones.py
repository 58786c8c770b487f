"""Clones: they hold what they need, and know their parent only by name."""

from __future__ import annotations

import pytest

from cowshed.errors import AlreadyExists, InvalidArgument, NotFound
from cowshed.store import Store

BLOCK = 4096
SIZE = 16 * BLOCK


@pytest.fixture(autouse=True)
def image_a(store: Store) -> None:
    store.create("a", SIZE, order=20)
    with store.open("a") as image:
        image.write(0, b"golden" * 1000)
    store.create_snapshot("a@1")


def head(store: Store, spec: str, length: int = 6) -> bytes:
    with store.open(spec, read_only=True) as image:
        return image.read(0, length)


def test_a_clone_is_independent(store: Store) -> None:
    store.clone("a@1", "b")
    with store.open("b") as image:
        image.write(0, b"silver")
    assert [head(store, spec) for spec in ("a", "a@1", "b")] == [b"golden", b"golden", b"silver"]
    stat = store.stat("b")
    assert (stat.size, stat.order) == (SIZE, 20)
    store.clone("a@1", "c", order=22)
    assert store.stat("c").order == 22


def test_the_parent_is_shown_by_its_names_of_today(store: Store) -> None:
    store.create_pool("vms")
    store.clone("a@1", "vms/b")
    parent = store.stat("vms/b").parent
    assert parent is not None
    assert str(parent) == "rbd/a@1"
    assert parent.overlap == SIZE
    store.rename("a", "base")
    store.rename_snapshot("base@1", "base@one")
    assert str(store.stat("vms/b").parent) == "rbd/base@one"


def test_children(store: Store) -> None:
    store.create_pool("vms")
    store.create_snapshot("a@2")
    for parent, child in (("a@1", "vms/c"), ("a@2", "b"), ("a@1", "d"), ("a@1", "c")):
        store.clone(parent, child)
    assert [str(child) for child in store.children("a@1")] == ["rbd/c", "rbd/d", "vms/c"]
    assert [(str(child), child.snapshot) for child in store.children("a")] == [
        ("rbd/b", "2"),
        ("rbd/c", "1"),
        ("rbd/d", "1"),
        ("vms/c", "1"),
    ]
    store.remove("d")
    store.flatten("c")
    store.rename("b", "bb")
    assert [str(child) for child in store.children("a")] == ["rbd/bb", "vms/c"]
    assert store.children("bb") == []


def test_flatten_copies_nothing(store: Store) -> None:
    store.clone("a@1", "b")
    before = store.store_usage().used
    store.flatten("b")
    assert store.store_usage().used == before
    assert store.stat("b").parent is None
    assert store.usage("b").exclusive == 0
    with pytest.raises(InvalidArgument, match="no parent"):
        store.flatten("b")
    with pytest.raises(InvalidArgument):
        store.flatten("a")
    assert head(store, "b") == b"golden"


def test_the_parent_may_go_first(store: Store) -> None:
    for name in ("b", "c", "d"):
        store.clone("a@1", name)
    store.create_snapshot("b@1")
    store.clone("b@1", "e")
    store.remove_snapshot("a@1")
    store.remove("a")
    for name in ("b", "c", "d", "e"):
        assert head(store, name) == b"golden"
    assert store.stat("b").parent is None
    assert str(store.stat("e").parent) == "rbd/b@1"
    with pytest.raises(InvalidArgument):
        store.flatten("b")
    assert store.check() == []
    for name in ("c", "d", "e"):
        store.remove(name)
    store.purge_snapshots("b")
    store.remove("b")
    store.reclaim()
    assert store.store_usage().used == 0


def test_a_new_snapshot_of_the_old_name_is_no_parent(store: Store) -> None:
    store.clone("a@1", "b")
    store.remove_snapshot("a@1")
    store.create_snapshot("a@1")
    assert store.stat("b").parent is None
    assert store.children("a") == []


def test_clones_of_clones(store: Store) -> None:
    for level in range(1, 30):
        store.clone(f"a{level - 1}@1" if level > 1 else "a@1", f"a{level}")
        with store.open(f"a{level}") as image:
            image.write(level * 100, b"level")
        store.create_snapshot(f"a{level}@1")
    for level in range(1, 29):
        store.remove_snapshot(f"a{level}@1")
        store.remove(f"a{level}")
    data = head(store, "a29", SIZE)
    assert data[:6] == b"golden"
    assert [data[level * 100 :][:5] for level in range(1, 30)] == [b"level"] * 29


def test_the_overlap_shrinks_and_does_not_grow(store: Store) -> None:
    store.clone("a@1", "b")
    store.create_snapshot("b@s")
    store.resize("b", 4 * BLOCK, allow_shrink=True)
    store.resize("b", 2 * SIZE)
    parent, at_snapshot = store.stat("b").parent, store.stat("b@s").parent
    assert parent is not None
    assert at_snapshot is not None
    assert (parent.overlap, at_snapshot.overlap) == (4 * BLOCK, SIZE)


def test_refusals(store: Store) -> None:
    with pytest.raises(AlreadyExists):
        store.clone("a@1", "a")
    with pytest.raises(NotFound):
        store.clone("a@2", "b")
    with pytest.raises(NotFound):
        store.clone("b@1", "c")
    with pytest.raises(NotFound):
        store.clone("a@1", "nowhere/b")
    with pytest.raises(InvalidArgument):
        store.clone("a", "b")
    with pytest.raises(InvalidArgument):
        store.clone("a@1", "b", order=5)


def test_removing_the_middle_of_a_diff_keeps_it_exact(store: Store) -> None:
    for i in range(2, 6):
        with store.open("a") as image:
            image.write(i * BLOCK, bytes([i]) * BLOCK)
        store.create_snapshot(f"a@{i}")
    for i in (2, 3, 4):
        store.remove_snapshot(f"a@{i}")
    with store.open("a@5") as image:
        assert [(e.offset, e.length) for e in image.diff("1")] == [(2 * BLOCK, 4 * BLOCK)]


def test_a_diff_of_what_is_a_clones_own(store: Store) -> None:
    """Only that in which it differs from its parent, at any range; all of it when the parent is gone."""
    store.create("p", 1 << 20)
    with store.open("p") as image:
        image.write(0, b"p" * (256 << 10))
    store.create_snapshot("p@s")
    store.clone("p@s", "c")

    def own(spec: str = "c", offset: int = 0, length: int | None = None) -> list[tuple[int, int, bool]]:
        with store.open(spec, read_only=True) as image:
            found = image.diff(own=True, offset=offset, length=length)
            return [(extent.offset, extent.length, extent.exists) for extent in found]

    assert own() == []
    with store.open("c") as image:
        image.write(8192, b"c" * 4096)
        image.discard(65536, 4096)
        image.write(512 << 10, b"more")
    changes = [(8192, 4096, True), (65536, 4096, False), (512 << 10, 4096, True)]
    assert own() == changes
    assert own(offset=16384, length=100_000) == [(65536, 4096, False)]
    store.create_snapshot("c@then")
    store.resize("c", 2 << 20)
    with store.open("c") as image:
        image.write((1 << 20) + 4096, b"grown")
    assert own() == [*changes, ((1 << 20) + 4096, 4096, True)]
    assert own("c@then") == changes
    with store.open("c", read_only=True) as image:
        assert [extent.offset for extent in image.diff("then", own=True)] == [(1 << 20) + 4096]
    with store.open("p", read_only=True) as image:
        assert list(image.diff(own=True)) == list(image.diff())
    store.resize("c", 128 << 10, allow_shrink=True)
    assert own() == changes[:2]
    store.remove_snapshot("p@s")
    store.remove("p")
    assert own() == [(0, 64 << 10, True), (68 << 10, 60 << 10, True)]
