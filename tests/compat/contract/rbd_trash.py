"""Class RBD: the trash."""

from __future__ import annotations

import datetime

from .expecting import expect, refused, same, shaped
from .world import MiB, World


def thrown(world: World, delay: int = 0) -> str:
    """Create an image, throw it away; its id."""
    image = world.fresh()
    number: str = image.id()
    image.close()
    world.api.trash_move(world.ioctx, "disk", delay)
    return number


@expect("rbd.RBD.trash_move", "rbd.RBD.trash_list", "rbd.TrashIterator")
def trash_list(world: World) -> None:
    """The image is listed no more by name, and by the trash as a dict of five."""
    number = thrown(world, 3600)
    same(world.api.list(world.ioctx), [])
    (one,) = list(world.api.trash_list(world.ioctx))
    shaped(
        one,
        id=str,
        name=str,
        source=str,
        deletion_time=datetime.datetime,
        deferment_end_time=datetime.datetime,
    )
    same((one["id"], one["name"], one["source"]), (number, "disk", "USER"))
    waits = one["deferment_end_time"] - one["deletion_time"]
    same(round(waits.total_seconds()), 3600)


@expect("rbd.RBD.trash_move")
def trash_move_refuses(world: World) -> None:
    """What is not there is ImageNotFound."""
    with refused(world.rbd.ImageNotFound, 2):
        world.api.trash_move(world.ioctx, "none", 0)


@expect("rbd.RBD.trash_move")
def trash_move_with_snapshots(world: World) -> None:
    """Snapshots do not hinder."""
    image = world.fresh()
    image.create_snap("snap")
    image.close()
    world.api.trash_move(world.ioctx, "disk")
    same(len(list(world.api.trash_list(world.ioctx))), 1)


@expect("rbd.RBD.trash_move")
def trash_move_while_open(world: World) -> None:
    """An image that is open moves all the same, and can be written still."""
    image = world.fresh()
    same(world.api.trash_move(world.ioctx, "disk", 0), None)
    same(image.write(b"still", 0), 5)


@expect("rbd.RBD.trash_get")
def trash_get(world: World) -> None:
    """The dict of one; ImageNotFound where there is none."""
    number = thrown(world)
    one = shaped(
        world.api.trash_get(world.ioctx, number),
        id=str,
        name=str,
        source=str,
        deletion_time=datetime.datetime,
        deferment_end_time=datetime.datetime,
    )
    same(one["name"], "disk")
    with refused(world.rbd.ImageNotFound, 2):
        world.api.trash_get(world.ioctx, "none")


@expect("rbd.RBD.trash_restore")
def trash_restore(world: World) -> None:
    """Under its old name or any other; a taken one is ImageExists."""
    number = thrown(world)
    world.create("taken")
    with refused(world.rbd.ImageExists, 17):
        world.api.trash_restore(world.ioctx, number, "taken")
    same(world.api.trash_restore(world.ioctx, number, "again"), None)
    same(world.open("again").id(), number)
    with refused(world.rbd.ImageNotFound, 2):
        world.api.trash_restore(world.ioctx, number, "more")


@expect("rbd.RBD.trash_restore")
def trash_restore_under_its_own_name(world: World) -> None:
    """An empty name is its old one."""
    world.api.trash_restore(world.ioctx, thrown(world), "")
    same(world.api.list(world.ioctx), ["disk"])


@expect("rbd.RBD.trash_remove")
def trash_remove(world: World) -> None:
    """Gone; before its time PermissionError, EPERM, unless forced."""
    number = thrown(world, 3600)
    with refused(world.rbd.PermissionError, 1):
        world.api.trash_remove(world.ioctx, number)
    same(world.api.trash_remove(world.ioctx, number, True), None)
    same(list(world.api.trash_list(world.ioctx)), [])
    with refused(world.rbd.ImageNotFound, 2):
        world.api.trash_remove(world.ioctx, number)


@expect("rbd.RBD.trash_remove")
def trash_remove_with_snapshots(world: World) -> None:
    """ImageHasSnapshots."""
    image = world.fresh()
    image.create_snap("snap")
    number = image.id()
    image.close()
    world.api.trash_move(world.ioctx, "disk", 0)
    with refused(world.rbd.ImageHasSnapshots, 39):
        world.api.trash_remove(world.ioctx, number)


@expect("rbd.RBD.trash_purge")
def trash_purge(world: World) -> None:
    """Those whose time is over go; the others stay."""
    thrown(world)
    kept = thrown(world, 3600)
    same(world.api.trash_purge(world.ioctx), None)
    same([one["id"] for one in world.api.trash_list(world.ioctx)], [kept])


@expect("rbd.Image")
def open_from_the_trash(world: World) -> None:
    """By its id an image in the trash can be opened, written, and changed."""
    number = thrown(world)
    image = world.keep(world.rbd.Image(world.ioctx, image_id=number))
    same((image.size(), image.get_name(), image.id()), (8 * MiB, "disk", number))
    same(image.write(b"still", 0), 5)
    image.create_snap("snap")
    same([snap["name"] for snap in image.list_snaps()], ["snap"])
    image.set_snap("snap")
    same(image.read(0, 5), b"still")
    image.set_snap(None)
    image.remove_snap("snap")
    image.metadata_set("key", "value")
    image.resize(MiB)
    image.close()
    read_only = world.keep(world.rbd.Image(world.ioctx, image_id=number, read_only=True))
    same((read_only.size(), read_only.read(0, 5)), (MiB, b"still"))
    with refused(world.rbd.ReadOnlyImage, 30):
        read_only.write(b"no", 0)


@expect("rbd.RBD.trash_move", "rbd.RBD.create")
def trash_frees_the_name(world: World) -> None:
    """The name is free for another image."""
    number = thrown(world)
    assert world.fresh().id() != number


@expect("rbd.RBD.remove")
def parent_to_the_trash(world: World) -> None:
    """With rbd_move_parent_to_trash_on_remove, a parent that only clones of format 2 hold moves to the trash,
    and is gone with the last of them; with a snapshot of the user's it is ImageHasSnapshots, open ImageBusy.
    """
    settings = {"rbd_move_parent_to_trash_on_remove": "true", "rbd_default_clone_format": "2"}
    before = {key: world.cluster.conf_get(key) for key in settings}
    for key, value in settings.items():
        world.cluster.conf_set(key, value)
    try:
        image = world.fresh()
        number = image.id()
        image.create_snap("snap")
        for name in ("one", "two"):
            world.api.clone(world.ioctx, "disk", "snap", world.ioctx, name)
        image.close()
        with refused(world.rbd.ImageHasSnapshots, 39):
            world.api.remove(world.ioctx, "disk")
        image = world.open()
        image.remove_snap("snap")
        with refused(world.rbd.ImageBusy, 16):
            world.api.remove(world.ioctx, "disk")
        image.close()
        same(world.api.remove(world.ioctx, "disk"), None)
        same(world.api.list(world.ioctx), ["one", "two"])
        with refused(world.rbd.ImageHasSnapshots, 39):
            world.api.trash_remove(world.ioctx, number, True)
        world.api.remove(world.ioctx, "one")
        world.open("two").flatten()
        with refused(world.rbd.ImageNotFound, 2):
            world.api.trash_remove(world.ioctx, number, True)
        same(list(world.api.trash_list(world.ioctx)), [])
    finally:
        for key, value in before.items():
            world.cluster.conf_set(key, value)
