"""Clones that hold their parents as RBD's do, beside cowshed's own, which hold nothing; and snapshots'
limits.
"""

from __future__ import annotations

import pytest

from cowshed.errors import Busy, InvalidArgument, NotEmpty, NotFound, QuotaExceeded
from cowshed.store import Store

MIB = 1 << 20


@pytest.fixture(autouse=True)
def image_a(store: Store) -> None:
    store.create("a", MIB)
    with store.open("a") as image:
        image.write(0, b"golden")
    store.create_snapshot("a@1")


def test_format_1_needs_protection_and_keeps_it(store: Store) -> None:
    with pytest.raises(InvalidArgument, match="not protected"):
        store.clone("a@1", "b", clone_format=1)
    store.protect_snapshot("a@1")
    store.clone("a@1", "b", clone_format=1)
    with pytest.raises(Busy, match="clones of format 1"):
        store.unprotect_snapshot("a@1")
    with pytest.raises(Busy):
        store.remove_snapshot("a@1")
    assert store.stat("b").op_features == ()
    store.flatten("b")
    store.unprotect_snapshot("a@1")
    store.remove_snapshot("a@1")


@pytest.mark.parametrize(
    ("configured", "default", "form"),
    [
        *[(None, None, None), (None, 1, 1), (None, 2, 2)],
        *[("auto", None, None), ("auto", 1, 1), ("auto", 2, 1)],
        *[("1", None, 1), ("1", 2, 1), ("2", None, 2), ("2", 1, 2)],
    ],
)
def test_the_format_where_none_is_named(
    store: Store, configured: str | None, default: int | None, form: int | None
) -> None:
    if configured is not None:
        store.set_config("rbd_default_clone_format", configured, pool="rbd")
    store.protect_snapshot("a@1")
    store.clone("a@1", "b", default_format=default)
    assert [child.clone_format for child in store.children("a@1")] == [form]
    store.clone("a@1", "c", clone_format=2, default_format=default)
    assert {child.image: child.clone_format for child in store.children("a@1")} == {"b": form, "c": 2}
    with pytest.raises(InvalidArgument, match="format 3"):
        store.clone("a@1", "d", default_format=3)


def test_format_2_keeps_a_removed_snapshot_out_of_sight(store: Store) -> None:
    for name in ("b", "c"):
        store.clone("a@1", name, clone_format=2)
    assert (store.stat("a").op_features, store.stat("b").op_features) == (("clone-parent",), ("clone-child",))
    assert "operations" in store.stat("a").features
    store.remove_snapshot("a@1")
    assert store.snapshots("a") == []
    (kept,) = store.snapshots("a", all_namespaces=True)
    assert (kept.namespace, kept.original_name) == ("trash", "1")
    assert "snap-trash" in store.stat("a").op_features
    with pytest.raises(NotFound):
        store.rollback("a@1")
    # Its name is free.
    store.create_snapshot("a@1")
    store.remove_snapshot("a@1")
    assert [child.snapshot for child in store.children("a")] == ["1", "1"]
    with pytest.raises(NotEmpty):
        store.remove("a")
    assert store.purge_snapshots("a") == 0
    store.remove("b")
    assert len(store.snapshots("a", all_namespaces=True)) == 1
    store.flatten("c")
    assert store.snapshots("a", all_namespaces=True) == []
    assert store.stat("a").op_features == ()
    store.remove("a")
    with store.open("c") as image:
        assert image.read(0, 6) == b"golden"


def test_purging_leaves_what_clones_hold(store: Store) -> None:
    store.create_snapshot("a@2")
    store.clone("a@1", "b", clone_format=2)
    store.clone("a@2", "c")
    assert store.purge_snapshots("a") == 2
    assert [kept.namespace for kept in store.snapshots("a", all_namespaces=True)] == ["trash"]
    assert store.stat("c").parent is None
    store.remove("b")
    store.remove("a")


def test_a_pool_decides_the_format(store: Store) -> None:
    store.create_pool("vms")
    store.set_config("rbd_default_clone_format", "2", pool="vms")
    store.clone("a@1", "vms/b")
    store.clone("a@1", "c")
    assert store.stat("vms/b").op_features == ("clone-child",)
    assert store.stat("c").op_features == ()
    store.clone("a@1", "d", clone_format=2)
    with pytest.raises(InvalidArgument):
        store.clone("a@1", "e", clone_format=3)


def test_a_copied_clone_holds_its_parent_too(store: Store) -> None:
    store.clone("a@1", "b", clone_format=2)
    store.deep_copy("b", "c")
    store.remove("b")
    store.remove_snapshot("a@1")
    assert len(store.snapshots("a", all_namespaces=True)) == 1
    store.remove("c")
    assert store.snapshots("a", all_namespaces=True) == []


def test_descendants(store: Store) -> None:
    store.create_pool("vms")
    store.clone("a@1", "b")
    store.create_snapshot("b@1")
    store.clone("b@1", "vms/c")
    store.create_snapshot("vms/c@1")
    store.clone("vms/c@1", "d")
    assert [str(child) for child in store.children("a")] == ["rbd/b"]
    assert [str(child) for child in store.descendants("a")] == ["rbd/b", "rbd/d", "vms/c"]
    assert [str(child) for child in store.descendants("b@1")] == ["rbd/d", "vms/c"]
    assert store.descendants("d") == []


def test_overlap_as_rbd_shows_it(store: Store) -> None:
    store.clone("a@1", "b")

    def overlap(spec: str) -> int:
        parent = store.stat(spec).parent
        assert parent is not None
        return parent.overlap

    store.resize("b", 3 * MIB)
    assert overlap("b") == MIB
    store.resize("b", MIB // 2, allow_shrink=True)
    store.create_snapshot("b@small")
    store.resize("b", 2 * MIB)
    assert (overlap("b"), overlap("b@small")) == (MIB // 2, MIB // 2)


def test_limits(store: Store) -> None:
    assert store.snapshot_limit("a") is None
    store.set_snapshot_limit("a", 2)
    assert store.snapshot_limit("a") == 2
    store.create_snapshot("a@2")
    with pytest.raises(QuotaExceeded, match="2 snapshots"):
        store.create_snapshot("a@3")
    store.set_snapshot_limit("a", 1)
    assert len(store.snapshots("a")) == 2
    store.set_snapshot_limit("a", None)
    store.create_snapshot("a@3")
    with pytest.raises(InvalidArgument):
        store.set_snapshot_limit("a", -1)


def test_snapshots_by_id(store: Store) -> None:
    (snapshot,) = store.snapshots("a")
    with store.open("a") as image:
        image.write(0, b"silver")
    with store.open("a", snapshot_id=snapshot.id) as image:
        assert (image.read(0, 6), image.read_only, str(image.spec)) == (b"golden", True, "rbd/a@1")
    store.create("b", MIB)
    for spec, wrong in (("a", 10**9), ("b", snapshot.id)):
        with pytest.raises(NotFound, match="with the id"):
            store.open(spec, snapshot_id=wrong)


def test_a_parent_that_clones_hold_goes_with_the_last_of_them(store: Store) -> None:
    """As RBD with rbd_move_parent_to_trash_on_remove; a chain goes together."""
    store.clone("a@1", "b", clone_format=2)
    store.clone("a@1", "c", clone_format=2)
    with pytest.raises(NotEmpty):
        store.remove("a", parent_to_trash=True)
    store.remove_snapshot("a@1")
    with pytest.raises(NotEmpty):
        store.remove("a")
    with store.open("a"), pytest.raises(Busy):
        store.remove("a", unless_used=True, parent_to_trash=True)
    store.remove("a", unless_used=True, parent_to_trash=True)
    (entry,) = store.trash("rbd")
    assert (entry.name, entry.source) == ("a", "USER_PARENT")
    with pytest.raises(NotEmpty):
        store.trash_remove("rbd", entry.id, force=True)
    store.create_snapshot("b@1")
    store.clone("b@1", "d", clone_format=2)
    store.remove_snapshot("b@1")
    store.remove("b", parent_to_trash=True)
    store.flatten("c")
    assert {entry.name for entry in store.trash("rbd")} == {"a", "b"}
    assert store.check() == []
    store.remove("d")
    assert store.trash("rbd") == []
    assert list(store.images("rbd")) == ["c"]
    assert store.check() == []


def test_what_the_user_threw_away_stays_in_the_trash(store: Store) -> None:
    store.clone("a@1", "b", clone_format=2)
    store.remove_snapshot("a@1")
    store.trash_move("a")
    store.remove("b")
    (entry,) = store.trash("rbd")
    assert entry.source == "USER"
    store.trash_remove("rbd", entry.id)
    assert store.check() == []
    store.create("e", MIB)
    store.remove("e", parent_to_trash=True)
    assert store.trash("rbd") == []
