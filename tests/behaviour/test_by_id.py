"""Images named by their ids: whatever they are called, and in the trash."""

from __future__ import annotations

import pytest

from cowshed.errors import InvalidArgument, NotFound
from cowshed.store import ImageSpec, SnapSpec, Store

MIB = 1 << 20


@pytest.fixture
def spec(store: Store) -> ImageSpec:
    """Of an image in a namespace, with data and a snapshot."""
    store.create_namespace("rbd", "blue")
    store.create("rbd/blue/a", MIB)
    with store.open("rbd/blue/a") as image:
        image.write(0, b"data")
    store.create_snapshot("rbd/blue/a@1")
    return ImageSpec("rbd", "blue", store.stat("rbd/blue/a").id, by_id=True)


def test_all_goes_as_by_the_name(store: Store, spec: ImageSpec) -> None:
    assert store.stat(spec) == store.stat("rbd/blue/a")
    assert store.stat(str(spec)) == store.stat("rbd/blue/a")
    assert store.stat(spec.at("1")) == store.stat("rbd/blue/a@1")
    store.rename("rbd/blue/a", "rbd/blue/b")
    assert store.stat(spec).name == "b"
    store.set_metadata(spec, "key", "value")
    assert store.metadata("rbd/blue/b") == {"key": "value"}
    store.clone(spec.at("1"), "c")
    assert [child.image for child in store.children(spec)] == ["c"]
    store.resize(spec, 2 * MIB)
    store.rename(spec, "rbd/blue/d")
    with store.open(spec) as image:
        assert (image.size, image.read(0, 4), image.spec) == (2 * MIB, b"data", spec)
        assert [extent.offset for extent in image.diff()] == [0]
    with store.open(spec.at("1")) as image:
        assert image.size == MIB
    store.remove_snapshot(spec.at("1"))
    store.remove(spec)
    assert list(store.images("rbd", "blue")) == []
    with pytest.raises(NotFound):
        store.stat(spec)
    assert store.check() == []


def test_in_the_trash(store: Store, spec: ImageSpec) -> None:
    store.trash_move(spec)
    with store.open(spec) as image:
        assert image.read(0, 4) == b"data"
        image.write(0, b"more")
    assert (store.stat(spec).name, store.stat(spec).snapshot_count) == ("a", 1)
    store.create_snapshot(spec.at("2"))
    store.remove_snapshot(spec.at("1"))
    assert [snapshot.name for snapshot in store.snapshots(spec)] == ["2"]
    store.create_pool("other")
    store.create_group("g")
    with pytest.raises(NotFound, match="trash"):
        store.rename(spec, "rbd/blue/b")
    with pytest.raises(NotFound, match="trash"):
        store.remove(spec)
    with pytest.raises(NotFound, match="trash"):
        store.trash_move(spec)
    with pytest.raises(NotFound, match="trash"):
        store.prepare_migration(spec, "other/a")
    with pytest.raises(NotFound, match="trash"):
        store.add_to_group("g", spec)
    assert store.check() == []
    store.trash_restore("rbd", spec.image, namespace="blue")
    assert [snapshot.name for snapshot in store.snapshots("rbd/blue/a")] == ["2"]


def test_what_is_not_there(store: Store, spec: ImageSpec) -> None:
    for wrong in (
        ImageSpec("rbd", "", spec.image, by_id=True),
        ImageSpec("rbd", "red", spec.image, by_id=True),
        ImageSpec("rbd", "blue", "a", by_id=True),
        ImageSpec("none", "blue", spec.image, by_id=True),
    ):
        with pytest.raises(NotFound):
            store.stat(wrong)
    for new in (spec, ImageSpec("rbd", "blue", "abc", by_id=True)):
        with pytest.raises(InvalidArgument, match="needs a name"):
            store.create(new, MIB)
        with pytest.raises(InvalidArgument, match="needs a name"):
            store.clone("rbd/blue/a@1", new)
        with pytest.raises(InvalidArgument, match="needs a name"):
            store.rename("rbd/blue/a", new)
    assert str(SnapSpec.parse("rbd///0123@s")) == "rbd///0123@s"
    assert store.check() == []
