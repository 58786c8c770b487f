"""Metadata, configuration and features: kept, listed, and refused as RBD refuses them."""

from __future__ import annotations

import pytest

from cowshed.errors import InvalidArgument, NotFound
from cowshed.store import FEATURES, Store

MIB = 1 << 20


@pytest.fixture(autouse=True)
def image_a(store: Store) -> None:
    store.create("a", MIB)


def test_metadata(store: Store) -> None:
    assert store.metadata("a") == {}
    for key, value in (("b", "2"), ("a/with/slashes", ""), ("ä", "ö" * 5000), ("b", "3")):
        store.set_metadata("a", key, value)
    assert store.metadata("a") == {"a/with/slashes": "", "b": "3", "ä": "ö" * 5000}
    assert store.get_metadata("a", "b") == "3"
    store.remove_metadata("a", "b")
    for ask in (store.get_metadata, store.remove_metadata):
        with pytest.raises(NotFound, match="'b'"):
            ask("a", "b")
        with pytest.raises(NotFound):
            ask("nothing", "b")
    for key in ("", "x" * 5000, "\ud800"):
        with pytest.raises(InvalidArgument):
            store.set_metadata("a", key, "1")
    with pytest.raises(NotFound):
        store.set_metadata("nothing", "b", "1")


def test_metadata_goes_with_its_image(store: Store) -> None:
    store.set_metadata("a", "b", "1")
    store.rename("a", "c")
    assert store.metadata("c") == {"b": "1"}
    store.remove("c")
    store.create("c", MIB)
    assert store.metadata("c") == {}


def test_metadata_of_pools(store: Store) -> None:
    assert store.pool_metadata("rbd") == {}
    for key, value in (("b", "2"), ("a/with/slashes", ""), ("ä", "ö" * 5000), ("b", "3")):
        store.set_pool_metadata("rbd", key, value)
    store.set_pool_metadata("rbd", "conf_rbd_cache", "no")
    assert store.pool_metadata("rbd") == {
        "a/with/slashes": "",
        "b": "3",
        "conf_rbd_cache": "false",
        "ä": "ö" * 5000,
    }
    assert options(store, "a")["rbd_cache"] == ("false", "pool")
    for key in ("b", "conf_rbd_cache"):
        store.remove_pool_metadata("rbd", key)
        with pytest.raises(NotFound):
            store.remove_pool_metadata("rbd", key)
    assert options(store, "a")["rbd_cache"] == ("true", "config")
    for bad in ("", "x" * 3801, "\ud800", "conf_nonsense"):
        with pytest.raises(InvalidArgument):
            store.set_pool_metadata("rbd", bad, "1")
    for ask in (store.pool_metadata, lambda pool: store.set_pool_metadata(pool, "b", "1")):
        with pytest.raises(NotFound, match="no pool"):
            ask("none")


def test_metadata_goes_with_its_pool(store: Store) -> None:
    name = "p" * 255
    for pool in (name, "pp"):
        store.create_pool(pool)
        store.set_pool_metadata(pool, "k" * 3800, pool)
    store.remove_pool(name)
    store.create_pool(name)
    assert store.pool_metadata(name) == {}
    assert store.pool_metadata("pp") == {"k" * 3800: "pp"}


def options(store: Store, spec: str | None = None, pool: str | None = None) -> dict[str, tuple[str, str]]:
    return {option.name: (option.value, option.source) for option in store.config(spec, pool=pool)}


def test_configuration_of_pools_and_images(store: Store) -> None:
    assert options(store, "a")["rbd_cache"] == ("true", "config")
    store.set_config("rbd_cache", "0", pool="rbd")
    assert options(store, pool="rbd")["rbd_cache"] == ("false", "pool")
    assert options(store, "a")["rbd_cache"] == ("false", "pool")
    store.set_config("rbd_cache", "yes", image="a")
    assert options(store, "a")["rbd_cache"] == ("true", "image")
    assert store.metadata("a") == {"conf_rbd_cache": "true"}
    store.remove_config("rbd_cache", image="a")
    assert options(store, "a")["rbd_cache"] == ("false", "pool")
    store.remove_config("rbd_cache", pool="rbd")
    assert options(store, "a")["rbd_cache"] == ("true", "config")
    with pytest.raises(NotFound):
        store.remove_config("rbd_cache", pool="rbd")
    with pytest.raises(NotFound):
        store.remove_config("rbd_cache", image="a")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rbd_caches", "true"),
        ("mon_host", "a"),
        ("rbd_cache", "maybe"),
        ("rbd_cache_size", "-1"),
        ("rbd_cache_size", "1Z"),
        ("rbd_qos_iops_burst_seconds", "0"),
        ("rbd_cache_policy", "writesideways"),
        ("rbd_discard_granularity_bytes", "5000"),
        ("rbd_journal_commit_age", "soon"),
    ],
)
def test_configuration_that_is_refused(store: Store, key: str, value: str) -> None:
    for where in ({"image": "a"}, {"pool": "rbd"}):
        with pytest.raises(InvalidArgument):
            store.set_config(key, value, **where)
    assert store.metadata("a") == {}


def test_configuration_needs_a_place(store: Store) -> None:
    with pytest.raises(InvalidArgument):
        store.set_config("rbd_cache", "true")
    with pytest.raises(InvalidArgument):
        store.config()
    with pytest.raises(InvalidArgument, match="for its pool"):
        store.set_config("rbd_default_order", "20", image="a")
    with pytest.raises(NotFound):
        store.set_config("rbd_cache", "true", pool="nowhere")


def test_a_pool_decides_what_new_images_are_like(store: Store) -> None:
    store.set_config("rbd_default_order", "20", pool="rbd")
    store.set_config("rbd_default_features", "3", pool="rbd")
    store.create("b", MIB)
    assert (store.stat("b").order, store.stat("b").features) == (20, ("layering",))
    store.create("c", MIB, order=24, features=["layering"])
    assert (store.stat("c").order, store.stat("c").features) == (24, ("layering",))


def test_features(store: Store) -> None:
    assert store.stat("a").features == FEATURES
    store.update_features("a", ["fast-diff"], False)
    assert store.stat("a").features == ("layering", "exclusive-lock", "deep-flatten")
    store.update_features("a", ["deep-flatten"], False)
    store.update_features("a", ["exclusive-lock"], False)
    assert store.stat("a").features == ("layering",)
    for features, enabled in (
        (["object-map"], True),
        (["deep-flatten"], True),
        (["layering"], False),
        (["exclusive-lock"], False),
        (["journaling"], True),
        (["flying"], True),
        ([], True),
    ):
        with pytest.raises(InvalidArgument):
            store.update_features("a", features, enabled)
    store.update_features("a", ["object-map", "exclusive-lock"], True)
    assert store.stat("a").features == ("layering", "exclusive-lock", "object-map", "fast-diff")
    store.update_features("a", ["object-map"], False)
    store.update_features("a", ["journaling"], True)
    assert store.stat("a").features == ("layering", "exclusive-lock", "journaling")
    with pytest.raises(InvalidArgument):
        store.update_features("a", ["exclusive-lock"], False)
    store.update_features("a", ["journaling", "exclusive-lock"], False)
    assert store.stat("a").features == ("layering",)
    for features in (["journaling"], ["object-map"], ["data-pool"], ["nonsense"]):
        with pytest.raises(InvalidArgument):
            store.create("b", MIB, features=features)
