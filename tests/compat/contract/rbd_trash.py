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
    """By its id an image in the trash can be opened."""
    number = thrown(world)
    image = world.keep(world.rbd.Image(world.ioctx, image_id=number))
    same(image.size(), 8 * MiB)


@expect("rbd.RBD.trash_move", "rbd.RBD.create")
def trash_frees_the_name(world: World) -> None:
    """The name is free for another image."""
    number = thrown(world)
    assert world.fresh().id() != number
