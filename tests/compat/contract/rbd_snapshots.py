"""Class Image: snapshots."""

from __future__ import annotations

import datetime

from .expecting import expect, refused, same, shaped
from .world import MiB, World


@expect("rbd.Image.create_snap", "rbd.Image.list_snaps", "rbd.SnapIterator")
def snapshots_listed(world: World) -> None:
    """Dicts of id, size, name and namespace, in the order of their making."""
    image = world.fresh()
    same(image.create_snap("b"), None)
    image.resize(4 * MiB)
    image.create_snap("a")
    found = list(image.list_snaps())
    for one in found:
        shaped(one, id=int, size=int, name=str, namespace=int)
    same(
        [(one["name"], one["size"], one["namespace"]) for one in found],
        [("b", 8 * MiB, 0), ("a", 4 * MiB, 0)],
    )
    assert found[0]["id"] < found[1]["id"]


@expect("rbd.Image.create_snap")
def create_snap_twice(world: World) -> None:
    """ImageExists, EEXIST."""
    image = world.fresh()
    image.create_snap("snap")
    with refused(world.rbd.ImageExists, 17):
        image.create_snap("snap")


@expect("rbd.Image.create_snap")
def create_snap_read_only(world: World) -> None:
    """ReadOnlyImage, EROFS."""
    world.create()
    with refused(world.rbd.ReadOnlyImage, 30):
        world.open(read_only=True).create_snap("snap")


@expect("rbd.Image.create_snap")
def create_snap_seen_by_others(world: World) -> None:
    """Another who has the image open to write sees it."""
    image = world.fresh()
    other = world.open()
    image.create_snap("snap")
    world.soon(lambda: [one["name"] for one in other.list_snaps()] == ["snap"])


@expect("rbd.Image.snap_exists", "rbd.Image.snap_get_id", "rbd.Image.snap_get_name")
def snap_by_id_and_name(world: World) -> None:
    """snap_exists is a bool; id and name lead to one another; what is not there is ImageNotFound."""
    image = world.fresh()
    image.create_snap("snap")
    (one,) = image.list_snaps()
    same((image.snap_exists("snap"), image.snap_exists("none")), (True, False))
    same((image.snap_get_id("snap"), image.snap_get_name(one["id"])), (one["id"], "snap"))
    with refused(world.rbd.ImageNotFound, 2):
        image.snap_get_id("none")
    with refused(world.rbd.ImageNotFound, 2):
        image.snap_get_name(99999)


@expect("rbd.Image.remove_snap")
def remove_snap(world: World) -> None:
    """Gone from the list; what is not there is ImageNotFound."""
    image = world.fresh()
    image.create_snap("snap")
    same(image.remove_snap("snap"), None)
    same(list(image.list_snaps()), [])
    with refused(world.rbd.ImageNotFound, 2):
        image.remove_snap("snap")


@expect("rbd.Image.remove_snap")
def remove_snap_protected(world: World) -> None:
    """A protected snapshot is ImageBusy, EBUSY."""
    with refused(world.rbd.ImageBusy, 16):
        world.parent().remove_snap("snap")


@expect("rbd.Image.remove_snap2")
def remove_snap2(world: World) -> None:
    """With flags 0 like remove_snap; RBD_SNAP_REMOVE_UNPROTECT takes the protection off first."""
    image = world.parent()
    with refused(world.rbd.ImageBusy, 16):
        image.remove_snap2("snap", 0)
    same(image.remove_snap2("snap", world.rbd.RBD_SNAP_REMOVE_UNPROTECT), None)
    same(list(image.list_snaps()), [])


@expect("rbd.Image.remove_snap2")
def remove_snap2_flattens(world: World) -> None:
    """RBD_SNAP_REMOVE_FORCE flattens the clones, and takes the protection off."""
    image = world.parent()
    clone = world.clone()
    clone.close()
    image.remove_snap2("snap", world.rbd.RBD_SNAP_REMOVE_FORCE)
    same(list(image.list_snaps()), [])
    clone = world.open("clone")
    with refused(world.rbd.ImageNotFound, 2):
        clone.parent_info()
    same(clone.read(0, 3), b"ppp")


@expect("rbd.Image.remove_snap_by_id")
def remove_snap_by_id(world: World) -> None:
    """Gone; what is not there is ImageNotFound."""
    image = world.fresh()
    image.create_snap("snap")
    same(image.remove_snap_by_id(image.snap_get_id("snap")), None)
    same(list(image.list_snaps()), [])
    with refused(world.rbd.ImageNotFound, 2):
        image.remove_snap_by_id(4711)


@expect("rbd.Image.rename_snap")
def rename_snap(world: World) -> None:
    """The same id under the new name; a taken name is ImageExists, one that is not there ImageNotFound."""
    image = world.fresh()
    image.create_snap("old")
    number = image.snap_get_id("old")
    same(image.rename_snap("old", "new"), None)
    same(image.snap_get_id("new"), number)
    image.create_snap("taken")
    with refused(world.rbd.ImageExists, 17):
        image.rename_snap("new", "taken")
    with refused(world.rbd.ImageNotFound, 2):
        image.rename_snap("none", "other")


@expect("rbd.Image.rollback_to_snap")
def rollback(world: World) -> None:
    """Content and size as of the snapshot; later snapshots stay."""
    image = world.fresh()
    image.write(b"then", 0)
    image.create_snap("snap")
    image.write(b"now!", 0)
    image.resize(4 * MiB)
    image.create_snap("later")
    image.rollback_to_snap("snap")
    same((image.read(0, 4), image.size()), (b"then", 8 * MiB))
    same([one["name"] for one in image.list_snaps()], ["snap", "later"])
    with refused(world.rbd.ImageNotFound, 2):
        image.rollback_to_snap("none")


@expect("rbd.Image.protect_snap", "rbd.Image.unprotect_snap", "rbd.Image.is_protected_snap")
def protection(world: World) -> None:
    """Protecting twice is ImageBusy, unprotecting twice InvalidArgument; what is not there ImageNotFound."""
    image = world.fresh()
    image.create_snap("snap")
    same(image.is_protected_snap("snap"), False)
    same(image.protect_snap("snap"), None)
    same(image.is_protected_snap("snap"), True)
    with refused(world.rbd.ImageBusy, 16):
        image.protect_snap("snap")
    same(image.unprotect_snap("snap"), None)
    with refused(world.rbd.InvalidArgument, 22):
        image.unprotect_snap("snap")
    for call in (image.protect_snap, image.unprotect_snap, image.is_protected_snap):
        with refused(world.rbd.ImageNotFound, 2):
            call("none")


@expect("rbd.Image.set_snap")
def set_snap(world: World) -> None:
    """Reads are as of the snapshot, and writes refused, until set_snap(None); one that is not there is
    refused.
    """
    image = world.fresh()
    image.write(b"then", 0)
    image.create_snap("snap")
    image.write(b"now!", 0)
    same(image.set_snap("snap"), None)
    same(image.read(0, 4), b"then")
    with refused(world.rbd.ReadOnlyImage, 30):
        image.write(b"x", 0)
    image.set_snap(None)
    same(image.read(0, 4), b"now!")
    image.write(b"more", 0)
    with refused(world.rbd.ImageNotFound, 2):
        image.set_snap("none")


@expect("rbd.Image.set_snap_by_id")
def set_snap_by_id(world: World) -> None:
    """As set_snap, by number; None is the present."""
    image = world.fresh()
    image.write(b"then", 0)
    image.create_snap("snap")
    image.write(b"now!", 0)
    image.set_snap_by_id(image.snap_get_id("snap"))
    same(image.read(0, 4), b"then")
    image.set_snap_by_id(None)
    same(image.read(0, 4), b"now!")


@expect("rbd.Image.get_snap_limit", "rbd.Image.set_snap_limit", "rbd.Image.remove_snap_limit")
def snap_limit(world: World) -> None:
    """Both setters answer 0. Without one, the largest number of 64 bits; one more than it allows is
    DiskQuotaExceeded, EDQUOT.
    """
    image = world.fresh()
    same(image.get_snap_limit(), 2**64 - 1)
    same(image.set_snap_limit(1), 0)
    same(image.get_snap_limit(), 1)
    image.create_snap("one")
    with refused(world.rbd.DiskQuotaExceeded, 122):
        image.create_snap("two")
    same(image.remove_snap_limit(), 0)
    image.create_snap("two")


@expect("rbd.Image.get_snap_timestamp")
def snap_timestamp(world: World) -> None:
    """A datetime in UTC without a zone. (A number that is no snapshot's ends the process, so no one asks.)"""
    image = world.fresh()
    image.create_snap("snap")
    moment = image.get_snap_timestamp(image.snap_get_id("snap"))
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    assert abs(now - moment) < datetime.timedelta(minutes=5), moment


@expect("rbd.Image.snap_get_namespace_type")
def snap_namespace_type(world: World) -> None:
    """RBD_SNAP_NAMESPACE_TYPE_USER for a snapshot of a user's."""
    image = world.fresh()
    image.create_snap("snap")
    same(image.snap_get_namespace_type(image.snap_get_id("snap")), 0)


@expect("rbd.Image.size", "rbd.Image.set_snap")
def size_at_a_snapshot(world: World) -> None:
    """The snapshot's size, not the present one."""
    image = world.fresh()
    image.create_snap("snap")
    image.resize(16 * MiB)
    same(world.open(snapshot="snap").size(), 8 * MiB)
