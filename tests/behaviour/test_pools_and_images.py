"""Pools and images: made, listed, described, renamed, resized, removed."""

from __future__ import annotations

import pytest

from behaviour.engines import Engine
from cowshed.errors import AlreadyExists, Closed, InGroup, InvalidArgument, NotEmpty, NotFound
from cowshed.store import ImageSpec, Store

MIB = 1 << 20


def test_a_new_store_has_the_pool_rbd(store: Store) -> None:
    (pool,) = store.pools()
    assert pool.name == "rbd"
    assert list(store.images("rbd")) == []


def test_pools_are_listed_by_name_and_keep_their_ids(store: Store) -> None:
    made = {name: store.create_pool(name) for name in ("volumes", "images", "vms")}
    assert [pool.name for pool in store.pools()] == ["images", "rbd", "vms", "volumes"]
    assert {pool.name: pool for pool in store.pools() if pool.name != "rbd"} == made
    assert len({pool.id for pool in store.pools()}) == 4
    with pytest.raises(AlreadyExists, match="vms"):
        store.create_pool("vms")


def test_a_pool_goes_only_when_empty(store: Store) -> None:
    store.create_pool("vms")
    store.create("vms/a", MIB)
    with pytest.raises(NotEmpty):
        store.remove_pool("vms")
    store.remove("vms/a")
    store.remove_pool("vms")
    with pytest.raises(NotFound):
        store.remove_pool("vms")
    with pytest.raises(NotFound):
        store.create("vms/a", MIB)
    with pytest.raises(NotFound):
        store.images("vms")


def test_a_pool_goes_with_all_that_it_holds(store: Store) -> None:
    """Snapshots, trash, groups and namespaces; clones elsewhere stay as they are."""
    for pool in ("vms", "elsewhere"):
        store.create_pool(pool)
    store.create_namespace("vms", "blue")
    for spec in ("vms/a", "vms/blue/b", "vms/thrown", "vms/inside"):
        store.create(spec, MIB)
        with store.open(spec) as image:
            image.write(0, spec.encode())
        for number in range(3):
            store.create_snapshot(f"{spec}@{number}")
        store.protect_snapshot(f"{spec}@1")
    store.clone("vms/a@1", "elsewhere/one", clone_format=1)
    store.clone("vms/a@2", "elsewhere/two", clone_format=2)
    store.clone("vms/a@0", "vms/mine", clone_format=2)
    store.remove_snapshot("vms/a@2")
    store.trash_move("vms/thrown", delay=1000)
    store.create_group("vms/g")
    store.add_to_group("vms/g", "vms/inside")
    store.create_group_snapshot("vms/g", "snap")
    with store.open("vms/a"):
        with pytest.raises(NotEmpty):
            store.remove_pool("vms")
        store.remove_pool("vms", with_images=True)
    assert [pool.name for pool in store.pools()] == ["elsewhere", "rbd"]
    for name in ("one", "two"):
        assert store.stat(f"elsewhere/{name}").parent is None
        with store.open(f"elsewhere/{name}") as image:
            assert image.read(0, 5) == b"vms/a"
        store.remove(f"elsewhere/{name}")
    assert store.check() == []
    store.reclaim()
    assert (store.store_usage().used, store.store_usage().versions) == (0, 0)
    with pytest.raises(NotFound):
        store.remove_pool("vms", with_images=True)


def test_a_pool_with_an_image_in_anothers_group_stays(store: Store) -> None:
    store.create_pool("vms")
    store.create("vms/a", MIB)
    store.create_group("rbd/g")
    store.add_to_group("rbd/g", "vms/a")
    with pytest.raises(InGroup, match="vms/a"):
        store.remove_pool("vms", with_images=True)
    store.create_group_snapshot("rbd/g", "snap")
    store.remove_from_group("rbd/g", "vms/a")
    with pytest.raises(InGroup):
        store.remove_pool("vms", with_images=True)
    store.remove_group_snapshot("rbd/g", "snap")
    store.remove_pool("vms", with_images=True)
    assert store.check() == []


def test_an_id_of_a_pool_is_not_used_again(store: Store) -> None:
    old = store.create_pool("a").id
    store.remove_pool("a")
    assert store.create_pool("a").id > old


def test_pool_stats_count(store: Store) -> None:
    store.create("a", 3 * MIB)
    store.create("b", 5 * MIB)
    store.create_snapshot("a@1")
    store.create_snapshot("a@2")
    stats = store.pool_stats("rbd")
    assert (stats.images, stats.provisioned, stats.snapshots) == (2, 8 * MIB, 2)
    store.create_namespace("rbd", "blue")
    store.create("rbd/blue/c", MIB)
    store.create("rbd/blue/d", MIB)
    store.trash_move("rbd/blue/d")
    for namespace, images, trashed in ((None, 3, 1), ("", 2, 0), ("blue", 1, 1)):
        stats = store.pool_stats("rbd", namespace)
        assert (stats.images, stats.trash_images) == (images, trashed), namespace
    with pytest.raises(NotFound):
        store.pool_stats("rbd", "red")
    with pytest.raises(NotFound):
        store.pool_stats("nowhere")


def test_pool_names_that_begin_alike_are_kept_apart(store: Store) -> None:
    for pool in ("a", "ab", "a-b"):
        store.create_pool(pool)
        store.create(f"{pool}/x", MIB)
    assert [list(store.images(pool)) for pool in ("a", "ab", "a-b")] == [["x"]] * 3
    store.remove("ab/x")
    store.remove_pool("ab")
    assert store.pool_stats("a").images == 1


def test_images_are_listed_in_order(store: Store) -> None:
    names = ["b", "a", "a.1", "a-1", "ä", "B", "10", "9"]
    for name in names:
        store.create(name, MIB)
    assert list(store.images("rbd")) == sorted(names)


def test_more_images_than_a_page_holds(store: Store) -> None:
    names = [f"image-{i:05}" for i in range(1050)]
    for name in names:
        store.create(name, MIB)
    assert list(store.images("rbd")) == names


def test_stat_as_rbd_info_has_it(store: Store) -> None:
    store.create("a", 10 * MIB + 1, order=20)
    stat = store.stat("a")
    assert (stat.pool, stat.namespace, stat.name) == ("rbd", "", "a")
    assert (stat.size, stat.order, stat.object_size, stat.objects) == (10 * MIB + 1, 20, MIB, 11)
    assert stat.format == 2
    assert stat.block_name_prefix == f"rbd_data.{stat.id}"
    assert int(stat.id, 16) >= 0
    assert stat.created == stat.modified == stat.accessed > 1.6e9
    assert (stat.parent, stat.snapshot, stat.protected, stat.snapshot_count) == (None, None, None, 0)
    assert "layering" in stat.features


def test_ids_differ(store: Store) -> None:
    for i in range(50):
        store.create(f"a{i}", MIB)
    assert len({store.stat(f"a{i}").id for i in range(50)}) == 50


@pytest.mark.parametrize("size", [-1, (1 << 50) + 1])
def test_impossible_sizes(store: Store, size: int) -> None:
    with pytest.raises(InvalidArgument):
        store.create("a", size)
    store.create("b", MIB)
    with pytest.raises(InvalidArgument):
        store.resize("b", size, allow_shrink=True)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 1 << 50])
def test_possible_sizes(store: Store, size: int) -> None:
    store.create("a", size)
    assert store.stat("a").size == size
    with store.open("a") as image:
        assert image.size == size


@pytest.mark.parametrize("order", [11, 26, 0, -1])
def test_impossible_orders(store: Store, order: int) -> None:
    with pytest.raises(InvalidArgument):
        store.create("a", MIB, order=order)


def test_what_is_there_already(store: Store) -> None:
    store.create("a", MIB)
    with pytest.raises(AlreadyExists, match="rbd/a"):
        store.create("a", MIB)


def test_what_is_not_there(store: Store) -> None:
    store.create("there", MIB)
    for call in (
        lambda: store.stat("a"),
        lambda: store.open("a"),
        lambda: store.remove("a"),
        lambda: store.resize("a", 5),
        lambda: store.rename("a", "b"),
        lambda: store.create("nowhere/a", MIB),
        lambda: store.create("rbd/nowhere/a", MIB),
        lambda: store.stat("there@1"),
        lambda: store.open("there@1"),
        lambda: store.snapshots("a"),
        lambda: store.usage("a"),
    ):
        with pytest.raises(NotFound):
            call()


def test_bad_specs(store: Store) -> None:
    for call in (
        lambda: store.create("a@1", MIB),
        lambda: store.create("", MIB),
        lambda: store.create_snapshot("a"),
        lambda: store.remove("a@1"),
        lambda: store.create_pool("a/b"),
        lambda: store.create_pool(""),
    ):
        with pytest.raises(InvalidArgument):
            call()


def test_rename_keeps_everything_else(store: Store) -> None:
    store.create("a", MIB)
    with store.open("a") as image:
        image.write(0, b"content")
    store.create_snapshot("a@1")
    before = store.stat("a")
    store.rename("a", "b")
    after = store.stat("b")
    assert (after.id, after.size, after.created, after.snapshot_count) == (before.id, MIB, before.created, 1)
    assert list(store.images("rbd")) == ["b"]
    assert [snapshot.name for snapshot in store.snapshots("b")] == ["1"]
    with store.open("b@1") as image:
        assert image.read(0, 7) == b"content"


def test_rename_refuses(store: Store) -> None:
    store.create_pool("other")
    store.create("a", MIB)
    store.create("b", MIB)
    with pytest.raises(AlreadyExists):
        store.rename("a", "b")
    with pytest.raises(AlreadyExists):
        store.rename("a", "a")
    with pytest.raises(InvalidArgument):
        store.rename("a", "other/a")


def test_resize(store: Store) -> None:
    store.create("a", MIB)
    with store.open("a") as image:
        image.write(MIB - 10, b"x" * 10)
        store.resize("a", 2 * MIB)
        assert image.size == 2 * MIB
        assert image.read(MIB - 10, 20) == b"x" * 10 + bytes(10)
    with pytest.raises(InvalidArgument, match="cut off"):
        store.resize("a", MIB)
    store.resize("a", MIB - 5, allow_shrink=True)
    store.resize("a", MIB)
    with store.open("a") as image:
        assert image.read(MIB - 10, 10) == b"x" * 5 + bytes(5)


def test_remove_while_it_has_snapshots(store: Store) -> None:
    store.create("a", MIB)
    store.create_snapshot("a@1")
    with pytest.raises(NotEmpty, match="snap purge"):
        store.remove("a")
    store.remove_snapshot("a@1")
    store.remove("a")
    assert list(store.images("rbd")) == []


def test_all_is_there_after_opening_again(engine: Engine) -> None:
    with engine.open() as store:
        store.create_pool("p")
        store.create("p/a", MIB)
        with store.open("p/a") as image:
            image.write(5, b"hello")
        store.create_snapshot("p/a@1")
        stat, snapshots = store.stat("p/a"), store.snapshots("p/a")
    with engine.open() as store:
        assert store.stat("p/a") == stat
        assert store.snapshots("p/a") == snapshots
        with store.open("p/a") as image:
            assert image.read(5, 5) == b"hello"
        assert store.check() == []


def test_a_closed_store_says_so(store: Store) -> None:
    store.create("a", MIB)
    store.close()
    store.close()
    for call in (store.pools, store.check, lambda: store.stat("a"), lambda: store.open("a"), store.reclaim):
        with pytest.raises(Closed):
            call()


def test_specs_may_be_given_parsed(store: Store) -> None:
    spec = ImageSpec("rbd", "", "a")
    store.create(spec, MIB)
    store.create_snapshot(spec.at("1"))
    assert store.stat(spec.at("1")).snapshot == "1"
    with store.open(spec) as image:
        assert image.spec == spec
    with store.open("a@1") as image:
        assert image.spec == spec.at("1")
