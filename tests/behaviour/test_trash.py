"""The trash: images without a name, kept for a while."""

from __future__ import annotations

import time

import pytest

from cowshed.errors import AlreadyExists, InvalidArgument, NotEmpty, NotFound, NotPermitted
from cowshed.store import Store

MIB = 1 << 20


@pytest.fixture(autouse=True)
def image_a(store: Store) -> None:
    store.create("a", MIB)
    with store.open("a") as image:
        image.write(0, b"kept")


def test_there_and_back(store: Store) -> None:
    image_id = store.stat("a").id
    before = time.time()
    assert store.trash_move("a") == image_id
    assert list(store.images("rbd")) == []
    with pytest.raises(NotFound):
        store.stat("a")
    with pytest.raises(NotFound):
        store.find_image("rbd", image_id)
    (entry,) = store.trash("rbd")
    assert (entry.id, entry.name, entry.source) == (image_id, "a", "USER")
    assert before - 0.002 <= entry.deleted <= time.time()
    assert entry.deferred_until == pytest.approx(entry.deleted)
    assert store.pool_stats("rbd").trash_images == 1
    # The name is free meanwhile.
    store.create("a", MIB)
    with pytest.raises(AlreadyExists):
        store.trash_restore("rbd", image_id)
    assert str(store.trash_restore("rbd", image_id, name="b")) == "rbd/b"
    assert store.trash("rbd") == []
    assert store.stat("b").id == image_id
    assert str(store.find_image("rbd", image_id)) == "rbd/b"
    with store.open("b") as image:
        assert image.read(0, 4) == b"kept"


def test_who_has_it_open_is_not_disturbed(store: Store) -> None:
    with store.open("a") as image:
        image_id = store.trash_move("a")
        image.write(4, b"more")
    store.trash_restore("rbd", image_id)
    with store.open("a") as image:
        assert image.read(0, 8) == b"keptmore"


def test_snapshots_and_clones_do_not_matter(store: Store) -> None:
    store.create_snapshot("a@1")
    store.clone("a@1", "b")
    image_id = store.trash_move("a")
    assert store.stat("b").parent is not None
    with pytest.raises(NotEmpty):
        store.trash_remove("rbd", image_id)
    store.trash_restore("rbd", image_id)
    assert [snapshot.name for snapshot in store.snapshots("a")] == ["1"]
    child = store.trash_move("b")
    (shown,) = store.children("a")
    assert (shown.trash, shown.image) == (True, "b")
    store.trash_remove("rbd", child)
    assert store.children("a") == []


def test_removal_waits_for_its_time(store: Store) -> None:
    image_id = store.trash_move("a", delay=3600)
    (entry,) = store.trash("rbd")
    assert entry.deferred_until == pytest.approx(entry.deleted + 3600)
    with pytest.raises(NotPermitted):
        store.trash_remove("rbd", image_id)
    store.trash_remove("rbd", image_id, force=True)
    assert store.trash("rbd") == []
    store.reclaim()
    assert store.store_usage().used == 0


def test_what_is_not_there(store: Store) -> None:
    image_id = store.stat("a").id
    for ask in (store.trash_restore, store.trash_remove):
        with pytest.raises(NotFound):
            ask("rbd", image_id)
        with pytest.raises(NotFound):
            ask("nowhere", image_id)
    store.trash_move("a")
    store.create_pool("vms")
    with pytest.raises(NotFound):
        store.trash_remove("vms", image_id)
    with pytest.raises(InvalidArgument):
        store.trash_restore("rbd", image_id, name="a@b")
    with pytest.raises(NotFound):
        store.trash("nowhere")
    with pytest.raises(NotEmpty, match="trash"):
        store.remove_pool("rbd")


def test_purge_by_age(store: Store) -> None:
    ids = {}
    for name, delay in (("b", 1000), ("c", 100), ("d", 0)):
        store.create(name, MIB)
        ids[name] = store.trash_move(name, delay=delay)
    assert store.trash_purge("rbd") == [ids["d"]]
    assert store.trash_purge("rbd", expired_before=time.time() + 50) == []
    assert store.trash_purge("rbd", expired_before=time.time() + 500) == [ids["c"]]
    assert [entry.name for entry in store.trash("rbd")] == ["b"]
    assert list(store.images("rbd")) == ["a"]


def test_purge_by_space(store: Store) -> None:
    for name in ("b", "c"):
        store.create(name, MIB)
        store.trash_move(name, delay=1000)
    assert store.trash_purge("rbd", threshold=1.0) == []
    assert len(store.trash_purge("rbd", threshold=0.0)) == 2


def test_purge_leaves_images_with_snapshots(store: Store) -> None:
    store.create_snapshot("a@1")
    store.create("b", MIB)
    for name in ("a", "b"):
        store.trash_move(name)
    with pytest.raises(NotEmpty, match=r"1 images removed, 1 stay"):
        store.trash_purge("rbd")
    assert [entry.name for entry in store.trash("rbd")] == ["a"]
