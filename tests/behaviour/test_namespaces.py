"""Namespaces: rooms in a pool with names of their own."""

from __future__ import annotations

import pytest

from cowshed.errors import AlreadyExists, Busy, InvalidArgument, NotEmpty, NotFound
from cowshed.store import Store

MIB = 1 << 20


def test_images_of_different_namespaces_have_names_of_their_own(store: Store) -> None:
    store.create_namespace("rbd", "blue")
    store.create_namespace("rbd", "azure")
    assert store.namespaces("rbd") == ["azure", "blue"]
    for spec, size in (("a", MIB), ("rbd/blue/a", 2 * MIB), ("rbd/azure/a", 3 * MIB)):
        store.create(spec, size)
    assert store.stat("rbd/blue/a").size == 2 * MIB
    assert (store.stat("a").size, store.stat("rbd/azure/a").namespace) == (MIB, "azure")
    assert list(store.images("rbd")) == ["a"]
    assert list(store.images("rbd", "blue")) == ["a"]
    store.rename("rbd/blue/a", "rbd/blue/b")
    assert list(store.images("rbd", "blue")) == ["b"]
    assert store.pool_stats("rbd").images == 3


def test_clones_across_namespaces_and_pools(store: Store) -> None:
    store.create_namespace("rbd", "blue")
    store.create_pool("vms")
    store.create("rbd/blue/a", MIB)
    store.create_snapshot("rbd/blue/a@1")
    store.clone("rbd/blue/a@1", "vms/b")
    assert str(store.stat("vms/b").parent) == "rbd/blue/a@1"
    assert [str(child) for child in store.children("rbd/blue/a")] == ["vms/b"]


def test_names(store: Store) -> None:
    store.create_namespace("rbd", "blue")
    with pytest.raises(AlreadyExists):
        store.create_namespace("rbd", "blue")
    for name in ("", "a/b", "a@b", "a\nb"):
        with pytest.raises(InvalidArgument):
            store.create_namespace("rbd", name)
    with pytest.raises(NotFound):
        store.create_namespace("nowhere", "blue")
    for ask in (store.namespaces, store.images):
        with pytest.raises(NotFound):
            ask("nowhere")
    with pytest.raises(NotFound, match="namespace 'red'"):
        store.create("rbd/red/a", MIB)
    with pytest.raises(NotFound, match="namespace 'red'"):
        store.stat("rbd/red/a")
    with pytest.raises(NotFound):
        store.images("rbd", "red")
    with pytest.raises(NotFound):
        store.trash("rbd", "red")


def test_a_namespace_goes_only_when_empty(store: Store) -> None:
    store.create_namespace("rbd", "blue")
    store.create("rbd/blue/a", MIB)
    with pytest.raises(Busy, match="images"):
        store.remove_namespace("rbd", "blue")
    image_id = store.trash_move("rbd/blue/a")
    with pytest.raises(Busy, match="trash"):
        store.remove_namespace("rbd", "blue")
    store.trash_remove("rbd", image_id, namespace="blue")
    store.create_group("rbd/blue/g")
    with pytest.raises(Busy, match="groups"):
        store.remove_namespace("rbd", "blue")
    store.remove_group("rbd/blue/g")
    store.remove_namespace("rbd", "blue")
    assert store.namespaces("rbd") == []
    with pytest.raises(NotFound):
        store.remove_namespace("rbd", "blue")
    with pytest.raises(InvalidArgument):
        store.remove_namespace("rbd", "")


def test_a_pool_goes_with_its_empty_namespaces(store: Store) -> None:
    store.create_pool("vms")
    store.create_namespace("vms", "blue")
    store.set_config("rbd_cache", "false", pool="vms")
    store.create("vms/blue/a", MIB)
    with pytest.raises(NotEmpty):
        store.remove_pool("vms")
    store.remove("vms/blue/a")
    store.remove_pool("vms")
    store.create_pool("vms")
    assert store.namespaces("vms") == []
    assert all(option.source == "config" for option in store.config(pool="vms"))
