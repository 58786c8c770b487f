"""Metadata and configuration of pools and images."""

from __future__ import annotations

from .expecting import expect, refused, same, shaped
from .world import World


@expect("rbd.Image.metadata_get", "rbd.Image.metadata_set", "rbd.Image.metadata_list", "rbd.MetadataIterator")
def image_metadata(world: World) -> None:
    """Text under a key, listed as pairs in order; a key that is not there is a KeyError."""
    image = world.fresh()
    same(list(image.metadata_list()), [])
    same(image.metadata_set("b", "two"), None)
    image.metadata_set("a", "one")
    same(image.metadata_get("b"), "two")
    same(list(image.metadata_list()), [("a", "one"), ("b", "two")])
    with refused(KeyError):
        image.metadata_get("none")


@expect("rbd.Image.metadata_list")
def much_image_metadata(world: World) -> None:
    """All of it is listed, however many."""
    image = world.fresh()
    for number in range(150):
        image.metadata_set(f"key{number:03}", str(number))
    same(list(image.metadata_list()), [(f"key{number:03}", str(number)) for number in range(150)])


@expect("rbd.Image.metadata_remove")
def image_metadata_removed(world: World) -> None:
    """Gone; a key that is not there is a KeyError."""
    image = world.fresh()
    image.metadata_set("key", "value")
    same(image.metadata_remove("key"), None)
    same(list(image.metadata_list()), [])
    with refused(KeyError):
        image.metadata_remove("key")


@expect("rbd.Image.config_list", "rbd.ConfigImageIterator", "rbd.Image.config_set", "rbd.Image.config_remove")
def image_configuration(world: World) -> None:
    """Dicts of name, value and source; what is set has the image as its source, until it is removed."""
    image = world.fresh()
    found = {one["name"]: one for one in image.config_list()}
    shaped(found["rbd_cache"], name=str, value=str, source=int)
    same(found["rbd_cache"]["source"], world.rbd.RBD_CONFIG_SOURCE_CONFIG)
    same(image.config_set("rbd_cache", "false"), None)
    found = {one["name"]: one for one in image.config_list()}
    same(
        found["rbd_cache"],
        {"name": "rbd_cache", "value": "false", "source": world.rbd.RBD_CONFIG_SOURCE_IMAGE},
    )
    same(image.config_get("rbd_cache"), "false")
    same(image.config_remove("rbd_cache"), None)
    with refused(KeyError):
        image.config_get("rbd_cache")


@expect("rbd.Image.config_set", "rbd.Image.config_list")
def qos_of_an_image(world: World) -> None:
    """The limits that Cinder sets are known: rbd_qos_iops_limit and its sisters."""
    image = world.fresh()
    for key in (
        "rbd_qos_iops_limit",
        "rbd_qos_bps_limit",
        "rbd_qos_read_iops_limit",
        "rbd_qos_write_bps_burst",
    ):
        image.config_set(key, "100")
        (found,) = [one for one in image.config_list() if one["name"] == key]
        same((found["value"], found["source"]), ("100", world.rbd.RBD_CONFIG_SOURCE_IMAGE))


@expect("rbd.Image.config_remove")
def image_configuration_refused(world: World) -> None:
    """Removing what is not set is a KeyError; an unknown key or a wrong value is InvalidArgument."""
    image = world.fresh()
    with refused(KeyError):
        image.config_remove("rbd_cache")
    for key, value in (("nonsense", "1"), ("rbd_cache", "maybe")):
        with refused(world.rbd.InvalidArgument, 22):
            image.config_set(key, value)


@expect(
    "rbd.RBD.pool_metadata_get",
    "rbd.RBD.pool_metadata_set",
    "rbd.RBD.pool_metadata_list",
    "rbd.RBD.pool_metadata_remove",
    "rbd.PoolMetadataIterator",
)
def pool_metadata(world: World) -> None:
    """As with an image's; a key that is not there is a KeyError."""
    same(world.api.pool_metadata_set(world.plain, "key", "value"), None)
    same(world.api.pool_metadata_get(world.plain, "key"), "value")
    assert ("key", "value") in list(world.api.pool_metadata_list(world.plain))
    same(world.api.pool_metadata_remove(world.plain, "key"), None)
    with refused(KeyError):
        world.api.pool_metadata_get(world.plain, "key")
    with refused(KeyError):
        world.api.pool_metadata_remove(world.plain, "key")


@expect(
    "rbd.RBD.config_list",
    "rbd.RBD.config_set",
    "rbd.RBD.config_get",
    "rbd.RBD.config_remove",
    "rbd.ConfigPoolIterator",
)
def pool_configuration(world: World) -> None:
    """As with an image's, the source is the pool; images inherit it."""
    same(world.api.config_set(world.plain, "rbd_qos_iops_limit", "77"), None)
    try:
        same(world.api.config_get(world.plain, "rbd_qos_iops_limit"), "77")
        found = {one["name"]: one for one in world.api.config_list(world.plain)}
        shaped(found["rbd_qos_iops_limit"], name=str, value=str, source=int)
        same(found["rbd_qos_iops_limit"]["source"], world.rbd.RBD_CONFIG_SOURCE_POOL)
    finally:
        world.api.config_remove(world.plain, "rbd_qos_iops_limit")
    with refused(KeyError):
        world.api.config_get(world.plain, "rbd_qos_iops_limit")


@expect("rbd.Image.config_get")
def config_get(world: World) -> None:
    """What is set for the image itself; a key that is not set there, or that is none, is a KeyError."""
    image = world.fresh()
    for key in ("rbd_cache", "nonsense"):
        with refused(KeyError):
            image.config_get(key)
    image.config_set("rbd_cache", "false")
    same(image.config_get("rbd_cache"), "false")
