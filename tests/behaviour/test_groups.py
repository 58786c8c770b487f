"""Groups: several images, snapshots of all of them at one moment."""

from __future__ import annotations

import threading

import pytest

from cowshed.errors import AlreadyExists, InGroup, InvalidArgument, NotFound, QuotaExceeded
from cowshed.store import Store

MIB = 1 << 20


@pytest.fixture(autouse=True)
def group_g(store: Store) -> None:
    store.create_group("g")
    for name in ("a", "b"):
        store.create(name, MIB)
        store.add_to_group("g", name)


def head(store: Store, spec: str, at: int = 0) -> bytes:
    with store.open(spec, read_only=True) as image:
        return image.read(at, 4)


def write(store: Store, spec: str, data: bytes) -> None:
    with store.open(spec) as image:
        image.write(0, data)


def test_groups_and_their_members(store: Store) -> None:
    store.create_pool("vms")
    store.create("vms/c", MIB)
    store.add_to_group("g", "vms/c")
    group = store.group("g")
    assert (group.name, group.images) == ("g", ("rbd/a", "rbd/b", "vms/c"))
    assert store.stat("a").group == "rbd/g"
    assert "group" in store.stat("a").op_features
    store.rename_group("g", "h")
    assert (store.groups("rbd"), store.stat("a").group) == (["h"], "rbd/h")
    store.remove_from_group("h", "a")
    assert store.group("h").images == ("rbd/b", "vms/c")
    assert store.stat("a").group is None
    store.rename("b", "bb")
    assert store.group("h").images == ("rbd/bb", "vms/c")
    store.remove_group("h")
    assert store.groups("rbd") == []
    assert store.stat("bb").group is None
    store.remove("bb")


def test_what_groups_refuse(store: Store) -> None:
    store.create_group("other")
    for group in ("g", "other"):
        with pytest.raises(AlreadyExists):
            store.add_to_group(group, "a")
    with pytest.raises(AlreadyExists):
        store.create_group("g")
    with pytest.raises(AlreadyExists):
        store.rename_group("g", "other")
    with pytest.raises(InvalidArgument):
        store.rename_group("g", "nowhere/g")
    with pytest.raises(NotFound):
        store.remove_from_group("other", "a")
    with pytest.raises(NotFound):
        store.group("nothing")
    with pytest.raises(NotFound):
        store.create_group("nowhere/g")
    with pytest.raises(NotFound):
        store.add_to_group("g", "nothing")
    with pytest.raises(InvalidArgument):
        store.create_group("g@1")
    for remove in (store.remove, store.trash_move):
        with pytest.raises(InGroup, match="group image rm"):
            remove("a")


def test_a_snapshot_of_all_members(store: Store) -> None:
    for name in ("a", "b"):
        write(store, name, b"old!")
    snapshot = store.create_group_snapshot("g", "1")
    for name in ("a", "b"):
        write(store, name, b"new!")
    assert [kept.name for kept in store.group("g").snapshots] == ["1"]
    assert len(snapshot.members) == 2
    # The user's own snapshots are others.
    assert store.snapshots("a") == []
    (part,) = store.snapshots("a", all_namespaces=True)
    assert (part.namespace, part.group) == ("group", "rbd/g@1")
    with store.open("a", snapshot_id=part.id) as image:
        assert image.read_only
        assert image.read(0, 4) == b"old!"
    store.create_snapshot("a@1")
    assert store.stat("a").snapshot_count == 2
    store.rollback_group("g", "1")
    assert (head(store, "a"), head(store, "b"), head(store, "a@1")) == (b"old!", b"old!", b"new!")
    store.rename_group_snapshot("g", "1", "one")
    store.create_group_snapshot("g", "1")
    assert [kept.name for kept in store.group("g").snapshots] == ["one", "1"]
    with pytest.raises(AlreadyExists):
        store.rename_group_snapshot("g", "1", "one")
    with pytest.raises(AlreadyExists):
        store.create_group_snapshot("g", "1")
    store.remove_group_snapshot("g", "one")
    for ask in (store.remove_group_snapshot, store.rollback_group):
        with pytest.raises(NotFound):
            ask("g", "one")
    with pytest.raises(InvalidArgument):
        store.create_group_snapshot("g", "a@b")


def test_rollback_needs_the_same_members(store: Store) -> None:
    store.create_group_snapshot("g", "1")
    store.remove_from_group("g", "b")
    with pytest.raises(InvalidArgument, match="other members"):
        store.rollback_group("g", "1")
    store.add_to_group("g", "b")
    store.rollback_group("g", "1")


def test_rollback_brings_back_sizes(store: Store) -> None:
    store.create_group_snapshot("g", "1")
    store.resize("a", 5 * MIB)
    store.rollback_group("g", "1")
    assert store.stat("a").size == MIB


def test_a_group_goes_with_its_snapshots(store: Store) -> None:
    write(store, "a", b"x" * 4096)
    store.create_group_snapshot("g", "1")
    store.create_group_snapshot("g", "2")
    store.remove_group("g")
    assert store.snapshots("a", all_namespaces=True) == []
    for name in ("a", "b"):
        store.remove(name)
    store.reclaim()
    assert store.store_usage().used == 0


def test_limits_count_them(store: Store) -> None:
    store.set_snapshot_limit("a", 1)
    store.create_group_snapshot("g", "1")
    with pytest.raises(QuotaExceeded):
        store.create_group_snapshot("g", "2")
    assert [kept.name for kept in store.group("g").snapshots] == ["1"]


def test_all_members_at_one_moment(store: Store) -> None:
    """One writer counts up in `a` first and in `b` behind: in no snapshot may `b` be ahead."""
    stop = threading.Event()

    def count() -> None:
        number = 0
        with store.open("a") as a, store.open("b") as b:
            while not stop.is_set():
                number += 1
                for image in (a, b):
                    image.write(0, number.to_bytes(4, "big"))

    writer = threading.Thread(target=count)
    writer.start()
    try:
        for name in range(20):
            store.create_group_snapshot("g", str(name))
    finally:
        stop.set()
        writer.join()
    for snapshot in store.group("g").snapshots:
        values = {}
        for image_id, version in snapshot.members:
            spec = store.find_image("rbd", image_id)
            with store.open(spec, snapshot_id=version) as image:
                values[spec.image] = int.from_bytes(image.read(0, 4), "big")
        assert values["a"] - 1 <= values["b"] <= values["a"]
