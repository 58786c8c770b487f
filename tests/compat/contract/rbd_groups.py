"""Groups of images, and their snapshots."""

from __future__ import annotations

from typing import Any

from .expecting import expect, refused, same, shaped
from .world import World


def group(world: World, *images: str) -> Any:
    world.api.group_create(world.ioctx, "group")
    made = world.rbd.Group(world.ioctx, "group")
    for name in images:
        world.create(name)
        made.add_image(world.ioctx, name)
    return made


@expect("rbd.RBD.group_create", "rbd.RBD.group_list", "rbd.RBD.group_remove")
def groups(world: World) -> None:
    """Made once, or ObjectExists; listed by name; removed, be it there or not."""
    same(world.api.group_list(world.ioctx), [])
    same(world.api.group_create(world.ioctx, "group"), None)
    same(world.api.group_list(world.ioctx), ["group"])
    with refused(world.rbd.ObjectExists, 17):
        world.api.group_create(world.ioctx, "group")
    same(world.api.group_remove(world.ioctx, "group"), None)
    same(world.api.group_list(world.ioctx), [])
    same(world.api.group_remove(world.ioctx, "group"), None)


@expect("rbd.RBD.group_rename")
def group_rename(world: World) -> None:
    """Listed under the new name; what is not there is ImageNotFound."""
    group(world)
    same(world.api.group_rename(world.ioctx, "group", "new"), None)
    same(world.api.group_list(world.ioctx), ["new"])
    with refused(world.rbd.ImageNotFound, 2):
        world.api.group_rename(world.ioctx, "group", "other")


@expect("rbd.Group", "rbd.Group.add_image", "rbd.Group.list_images", "rbd.GroupImageIterator")
def group_images(world: World) -> None:
    """Dicts of name, pool and state."""
    made = group(world, "disk")
    (one,) = list(made.list_images())
    shaped(one, name=str, pool=int, state=int)
    same(
        one,
        {
            "name": "disk",
            "pool": world.plain.get_pool_id(),
            "state": world.rbd.RBD_GROUP_IMAGE_STATE_ATTACHED,
        },
    )


@expect("rbd.Group.add_image")
def group_add_image_refuses(world: World) -> None:
    """An image of another group is ObjectExists; one that is not there ObjectNotFound."""
    made = group(world, "disk")
    world.api.group_create(world.ioctx, "second")
    with refused(world.rbd.ObjectExists, 17):
        world.rbd.Group(world.ioctx, "second").add_image(world.ioctx, "disk")
    with refused(world.rbd.ObjectNotFound, 2):
        made.add_image(world.ioctx, "none")


@expect("rbd.Group.remove_image")
def group_remove_image(world: World) -> None:
    """Out of the group, and there still."""
    made = group(world, "disk")
    same(made.remove_image(world.ioctx, "disk"), None)
    same(list(made.list_images()), [])
    same(world.api.list(world.ioctx), ["disk"])


@expect("rbd.RBD.remove")
def remove_a_group_member(world: World) -> None:
    """An image that is in a group cannot be removed: OSError, EMLINK."""
    group(world, "disk")
    with refused(world.rbd.OSError, 31):
        world.api.remove(world.ioctx, "disk")


@expect("rbd.Image.group")
def group_of_an_image(world: World) -> None:
    """A dict of pool and name; of one that is in none, pool -1 and no name."""
    group(world, "disk")
    same(world.open().group(), {"pool": world.plain.get_pool_id(), "name": "group"})
    same(world.fresh("alone").group(), {"pool": -1, "name": ""})


@expect("rbd.Image.op_features")
def op_features_of_a_member(world: World) -> None:
    """RBD_OPERATION_FEATURE_GROUP."""
    group(world, "disk")
    same(world.open().op_features(), world.rbd.RBD_OPERATION_FEATURE_GROUP)


@expect("rbd.Group.create_snap", "rbd.Group.list_snaps", "rbd.GroupSnapIterator")
def group_snapshots(world: World) -> None:
    """Dicts of name and state; a taken name is ObjectExists."""
    made = group(world, "one", "two")
    same(made.create_snap("snap"), None)
    (one,) = list(made.list_snaps())
    same(one, {"name": "snap", "state": world.rbd.RBD_GROUP_SNAP_STATE_COMPLETE})
    with refused(world.rbd.ObjectExists, 17):
        made.create_snap("snap")


@expect("rbd.Image.list_snaps", "rbd.Image.snap_get_group_namespace", "rbd.Image.snap_get_namespace_type")
def group_snapshots_of_a_member(world: World) -> None:
    """The member lists them with namespace 1, and a dict of the group's pool, name and snapshot."""
    group(world, "disk").create_snap("snap")
    image = world.open()
    (one,) = list(image.list_snaps())
    same(one["namespace"], world.rbd.RBD_SNAP_NAMESPACE_TYPE_GROUP)
    wanted = {"pool": world.plain.get_pool_id(), "name": "group", "snap_name": "snap"}
    same(image.snap_get_group_namespace(one["id"]), wanted)
    same(one["group"], wanted)
    same(image.snap_get_namespace_type(one["id"]), world.rbd.RBD_SNAP_NAMESPACE_TYPE_GROUP)


@expect("rbd.Group.rename_snap", "rbd.Group.remove_snap")
def group_snapshots_change(world: World) -> None:
    """Renamed, removed; what is not there is ObjectNotFound."""
    made = group(world, "disk")
    made.create_snap("old")
    same(made.rename_snap("old", "new"), None)
    same([one["name"] for one in made.list_snaps()], ["new"])
    same(made.remove_snap("new"), None)
    same(list(made.list_snaps()), [])
    with refused(world.rbd.ObjectNotFound, 2):
        made.remove_snap("new")


@expect("rbd.Group.rollback_to_snap")
def group_rollback(world: World) -> None:
    """All members are as they were."""
    made = group(world, "one", "two")
    for name in ("one", "two"):
        with world.rbd.Image(world.ioctx, name) as image:
            image.write(b"then", 0)
    made.create_snap("snap")
    for name in ("one", "two"):
        with world.rbd.Image(world.ioctx, name) as image:
            image.write(b"now!", 0)
    same(made.rollback_to_snap("snap"), None)
    for name in ("one", "two"):
        with world.rbd.Image(world.ioctx, name) as image:
            same(image.read(0, 4), b"then")
