"""Moves of an image to another name, pool or namespace, in RBD's steps."""

from __future__ import annotations

import pytest

from cowshed.errors import AlreadyExists, Busy, InGroup, InvalidArgument, NotFound
from cowshed.store import Store

MIB = 1 << 20


@pytest.fixture(autouse=True)
def image_a(store: Store) -> None:
    store.create("a", MIB)
    store.create_pool("vms")
    store.create_namespace("vms", "blue")
    with store.open("a") as image:
        image.write(0, b"moved")
    store.create_snapshot("a@1")


def test_a_move(store: Store) -> None:
    image_id = store.stat("a").id
    assert store.migration("a") is None
    with store.open("a") as image:
        store.prepare_migration("a", "vms/blue/b")
        image.write(5, b"!")
    move = store.migration("vms/blue/b")
    assert move is not None
    assert (move.source, move.target, move.state) == ("rbd/a", "vms/blue/b", "prepared")
    assert list(store.images("rbd")) == []
    with pytest.raises(InvalidArgument, match="not executed"):
        store.commit_migration("vms/blue/b")
    for forbidden in (
        lambda: store.trash_move("vms/blue/b"),
        lambda: store.prepare_migration("vms/blue/b", "c"),
    ):
        with pytest.raises(Busy):
            forbidden()
    store.execute_migration("vms/blue/b")
    store.commit_migration("vms/blue/b")
    assert store.migration("vms/blue/b") is None
    assert store.stat("vms/blue/b").id == image_id
    assert [snapshot.name for snapshot in store.snapshots("vms/blue/b")] == ["1"]
    with store.open("vms/blue/b") as image:
        assert image.read(0, 6) == b"moved!"
    with pytest.raises(NotFound):
        store.commit_migration("vms/blue/b")


def test_a_move_that_is_taken_back(store: Store) -> None:
    store.prepare_migration("a", "vms/b")
    store.execute_migration("vms/b")
    store.create("a", MIB)
    with pytest.raises(AlreadyExists):
        store.abort_migration("vms/b")
    store.remove("a")
    store.abort_migration("vms/b")
    assert store.migration("a") is None
    assert [snapshot.name for snapshot in store.snapshots("a")] == ["1"]


def test_what_is_not_moved(store: Store) -> None:
    store.create("vms/b", MIB)
    with pytest.raises(AlreadyExists):
        store.prepare_migration("a", "vms/b")
    with pytest.raises(NotFound):
        store.prepare_migration("a", "nowhere/b")
    with pytest.raises(NotFound):
        store.prepare_migration("nothing", "vms/c")
    for ask in (store.execute_migration, store.commit_migration, store.abort_migration):
        with pytest.raises(NotFound):
            ask("a")
    with pytest.raises(NotFound):
        store.migration("nothing")
    store.create_group("g")
    store.add_to_group("g", "a")
    with pytest.raises(InGroup):
        store.prepare_migration("a", "vms/c")


def test_a_clone_keeps_its_parent(store: Store) -> None:
    store.clone("a@1", "c")
    store.prepare_migration("a", "vms/b")
    assert str(store.stat("c").parent) == "vms/b@1"
    store.prepare_migration("c", "vms/c")
    assert [str(child) for child in store.children("vms/b@1")] == ["vms/c"]
