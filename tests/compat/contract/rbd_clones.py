"""Clones: making them, their parents and children, flattening; clone formats 1 and 2."""

from __future__ import annotations

from typing import Any

from .expecting import expect, refused, same, shaped
from .world import MiB, World


def clone_as(world: World, number: int, name: str = "clone") -> Any:
    """A clone of base@snap of this format, opened."""
    ioctx = with_format(world, number)
    world.api.clone(ioctx, "base", "snap", ioctx, name)
    return world.open(name)


def with_format(world: World, number: int) -> Any:
    """An ioctx of a connection of its own whose rbd_default_clone_format is `number`."""
    cluster = world.rados.Rados(conffile=world.conf, rados_id="admin")
    cluster.conf_set("rbd_default_clone_format", str(number))
    cluster.connect()
    ioctx = world.keep(cluster.open_ioctx(world.pool))
    ioctx.set_namespace(world.namespace)
    return ioctx


def second_with_format_2(world: World) -> Any:
    cluster = world.rados.Rados(conffile=world.conf, rados_id="admin")
    cluster.conf_set("rbd_default_clone_format", "2")
    cluster.connect()
    return world.keep(cluster.open_ioctx(world.second_pool))


@expect("rbd.RBD.clone")
def clone(world: World) -> None:
    """The clone reads as the snapshot did, and writing it changes neither the other."""
    base = world.parent()
    same(world.api.clone(world.ioctx, "base", "snap", world.ioctx, "clone"), None)
    child = world.open("clone")
    same((child.read(0, 3), child.size()), (b"ppp", 8 * MiB))
    child.write(b"c", 0)
    base.write(b"b", 1)
    same((child.read(0, 3), base.read(0, 3)), (b"cpp", b"pbp"))


@expect("rbd.RBD.clone")
def clone_with_options(world: World) -> None:
    """Features and order may be given; Cinder gives features, order, stripe_unit and stripe_count."""
    world.parent()
    child = world.clone(features=1, order=20)
    same((child.features(), child.stat()["order"]), (1, 20))
    world.api.clone(
        world.ioctx,
        "base",
        "snap",
        world.ioctx,
        "two",
        features=3,
        order=22,
        stripe_unit=65536,
        stripe_count=2,
    )
    same(world.open("two").size(), 8 * MiB)


@expect("rbd.RBD.clone")
def clone_refuses(world: World) -> None:
    """No such image or snapshot is ImageNotFound, a taken name ImageExists, no layering
    FunctionNotSupported.
    """
    world.parent()
    for name, snap in (("none", "snap"), ("base", "none")):
        with refused(world.rbd.ImageNotFound, 2):
            world.api.clone(world.ioctx, name, snap, world.ioctx, "clone")
    with refused(world.rbd.ImageExists, 17):
        world.api.clone(world.ioctx, "base", "snap", world.ioctx, "base")
    with refused(world.rbd.FunctionNotSupported, 38):
        world.api.clone(world.ioctx, "base", "snap", world.ioctx, "clone", features=4)


@expect("rbd.RBD.clone")
def clone_format_1_needs_protection(world: World) -> None:
    """A snapshot that is not protected is InvalidArgument with format 1."""
    world.fresh("base").create_snap("snap")
    with refused(world.rbd.InvalidArgument, 22):
        clone_as(world, 1)


@expect("rbd.RBD.clone")
def clone_format_2_needs_none(world: World) -> None:
    """A snapshot that is not protected can be cloned with format 2."""
    world.fresh("base").create_snap("snap")
    clone_as(world, 2)
    same(world.open("clone").parent_info()[1:], ("base", "snap"))


@expect("rbd.RBD.clone")
def clone_format_by_itself(world: World) -> None:
    """`auto`, which is the default, is format 1 where old clients are allowed: protection is asked for."""
    world.fresh("base").create_snap("snap")
    with refused(world.rbd.InvalidArgument, 22):
        world.api.clone(world.ioctx, "base", "snap", world.ioctx, "clone")


@expect("rbd.RBD.clone", "rados.Rados.conf_set")
def clone_format_of_the_conf(world: World) -> None:
    """rbd_default_clone_format = 2 in the client's settings makes clones of format 2."""
    world.fresh("base").create_snap("snap")
    ioctx = with_format(world, 2)
    world.api.clone(ioctx, "base", "snap", ioctx, "clone")
    same(world.open("clone").op_features(), world.rbd.RBD_OPERATION_FEATURE_CLONE_CHILD)
    same(world.open("base").op_features(), world.rbd.RBD_OPERATION_FEATURE_CLONE_PARENT)


@expect("rbd.RBD.clone", "rbd.Image.op_features")
def clone_format_1_has_no_op_features(world: World) -> None:
    """Neither parent nor clone of format 1 has any."""
    base = world.parent()
    same((clone_as(world, 1).op_features(), base.op_features()), (0, 0))


@expect("rbd.Image.unprotect_snap")
def unprotect_with_clones_of_format_1(world: World) -> None:
    """ImageBusy, EBUSY, while a clone lives."""
    base = world.parent()
    clone_as(world, 1).close()
    with refused(world.rbd.ImageBusy, 16):
        base.unprotect_snap("snap")
    world.api.remove(world.ioctx, "clone")
    base.unprotect_snap("snap")


@expect("rbd.Image.unprotect_snap", "rbd.Image.remove_snap", "rbd.Image.snap_get_trash_namespace")
def remove_snap_with_clones_of_format_2(world: World) -> None:
    """The snapshot moves to the trash namespace; its old name is told; the last clone's end is its end."""
    base = world.parent()
    clone_as(world, 2).close()
    base.unprotect_snap("snap")
    base.remove_snap("snap")
    (kept,) = list(base.list_snaps())
    same(kept["namespace"], world.rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH)
    assert kept["name"] != "snap"
    same(base.snap_get_trash_namespace(kept["id"]), {"original_name": "snap"})
    shaped(kept, id=int, size=int, name=str, namespace=int, trash=dict)
    world.api.remove(world.ioctx, "clone")
    base = world.reopened(base)
    same(list(base.list_snaps()), [])


@expect("rbd.RBD.remove")
def remove_image_with_clones_of_format_2(world: World) -> None:
    """An image whose snapshot in the trash has a clone is ImageHasSnapshots; it can be moved to the trash."""
    base = world.parent()
    clone_as(world, 2).close()
    base.unprotect_snap("snap")
    base.remove_snap("snap")
    base.close()
    with refused(world.rbd.ImageHasSnapshots, 39):
        world.api.remove(world.ioctx, "base")
    world.api.trash_move(world.ioctx, "base", 0)
    child = world.open("clone")
    same(child.read(0, 3), b"ppp")


@expect("rbd.Image.parent_info")
def parent_info(world: World) -> None:
    """Pool, image and snapshot; ImageNotFound where there is none."""
    base = world.parent()
    same(world.clone().parent_info(), (world.pool, "base", "snap"))
    with refused(world.rbd.ImageNotFound, 2):
        base.parent_info()


@expect("rbd.Image.parent_id")
def parent_id(world: World) -> None:
    """The parent's id; ImageNotFound where there is none."""
    base = world.parent()
    same(world.clone().parent_id(), base.id())
    with refused(world.rbd.ImageNotFound, 2):
        base.parent_id()


@expect("rbd.Image.get_parent_image_spec")
def parent_image_spec(world: World) -> None:
    """A dict of pool, namespace, image and snapshot; ImageNotFound where there is none."""
    base = world.parent()
    spec = shaped(
        world.clone().get_parent_image_spec(),
        pool_name=str,
        pool_namespace=str,
        image_name=str,
        snap_name=str,
    )
    same(tuple(spec.values()), (world.pool, world.namespace, "base", "snap"))
    with refused(world.rbd.ImageNotFound, 2):
        base.get_parent_image_spec()


@expect("rbd.Image.stat")
def stat_of_a_clone(world: World) -> None:
    """parent_name and parent_pool are not filled any more: as for an image without parent."""
    world.parent()
    facts = world.clone().stat()
    same((facts["parent_pool"], facts["parent_name"]), (2**64 - 1, b""))


@expect("rbd.Image.overlap")
def overlap(world: World) -> None:
    """The bytes that come from the parent: shrinks with the clone, and grows no more."""
    world.parent()
    child = world.clone()
    same(child.overlap(), 8 * MiB)
    child.resize(4 * MiB)
    child.resize(8 * MiB)
    same(child.overlap(), 4 * MiB)


@expect("rbd.Image.flatten")
def flatten(world: World) -> None:
    """No parent any more, the same content; on_progress is told; again is InvalidArgument."""
    base = world.parent()
    child = world.clone()
    calls: list[tuple[int, int]] = []

    def tell(done: int, whole: int) -> int:
        calls.append((done, whole))
        return 0

    child.flatten(on_progress=tell)
    assert calls, "on_progress was never called"
    with refused(world.rbd.ImageNotFound, 2):
        child.parent_info()
    same(child.read(0, 3), b"ppp")
    same(list(base.list_children()), [])
    with refused(world.rbd.InvalidArgument, 22):
        child.flatten()


@expect("rbd.Image.list_children")
def list_children(world: World) -> None:
    """Pairs of pool and name of the clones of the snapshot that is set; without one, of all snapshots."""
    base = world.parent()
    world.clone("one")
    world.clone("two")
    base.create_snap("other")
    same(sorted(base.list_children()), [(world.pool, "one"), (world.pool, "two")])
    base.set_snap("snap")
    same(sorted(base.list_children()), [(world.pool, "one"), (world.pool, "two")])
    base.set_snap("other")
    same(list(base.list_children()), [])


@expect("rbd.Image.list_children2", "rbd.ChildIterator")
def list_children2(world: World) -> None:
    """Dicts of pool, namespace, name, id and whether it is in the trash."""
    base = world.parent()
    child = world.clone()
    number = child.id()
    (one,) = list(base.list_children2())
    shaped(one, pool=str, pool_namespace=str, image=str, id=str, trash=bool)
    same(
        one,
        {
            "pool": world.pool,
            "pool_namespace": world.namespace,
            "image": "clone",
            "id": number,
            "trash": False,
        },
    )
    child.close()
    world.api.trash_move(world.ioctx, "clone", 0)
    (one,) = list(base.list_children2())
    same((one["id"], one["trash"]), (number, True))


@expect("rbd.Image.list_descendants")
def list_descendants(world: World) -> None:
    """Children and theirs, with the same dicts."""
    base = world.parent()
    child = world.clone()
    child.create_snap("snap")
    child.protect_snap("snap")
    world.clone("grandchild", "clone")
    found = list(base.list_descendants())
    same(sorted(one["image"] for one in found), ["clone", "grandchild"])
    shaped(found[0], pool=str, pool_namespace=str, image=str, id=str, trash=bool)


@expect("rbd.RBD.clone")
def clone_across_pools(world: World) -> None:
    """The clone's ioctx may be another pool's, with format 2; children and parent name their pools."""
    base = world.parent()
    name = f"{world.namespace}-clone"
    world.api.clone(with_format(world, 2), "base", "snap", second_with_format_2(world), name)
    with world.rbd.Image(world.second, name) as child:
        same(child.parent_info(), (world.pool, "base", "snap"))
    same(list(base.list_children()), [(world.second_pool, name)])
    world.api.remove(world.second, name)


@expect("rbd.Image.flatten")
def flatten_at_a_snapshot(world: World) -> None:
    """Read-only: ReadOnlyImage, EROFS."""
    world.parent()
    world.clone().create_snap("own")
    with refused(world.rbd.ReadOnlyImage, 30):
        world.open("clone", snapshot="own").flatten()


@expect("rbd.RBD.clone", differs="freer: a clone may be anywhere")
def clone_of_format_1_out_of_a_namespace(world: World) -> None:
    """Parent and clone must be of one namespace with format 1: else OSError, EXDEV."""
    world.parent()
    with refused(world.rbd.OSError, 18):
        world.api.clone(world.ioctx, "base", "snap", world.second, f"{world.namespace}-clone")


@expect("rbd.RBD.clone", "rbd.Image.copy", "rbd.Image.deep_copy")
def striping_of_clones_and_copies(world: World) -> None:
    """Inherited, as far as nothing else is given; a smaller order than the parent's stripe unit is
    InvalidArgument.
    """
    image = world.fresh("base", order=22, stripe_unit=65536, stripe_count=4, features=61)
    image.create_snap("snap")
    image.protect_snap("snap")
    plain = world.fresh("plain", order=22)
    plain.create_snap("snap")
    plain.protect_snap("snap")
    for source, how, found in (
        ("base", {}, (65536, 4, 63)),
        ("base", {"stripe_unit": 4 * MiB, "stripe_count": 1}, (4 * MiB, 1, 61)),
        ("base", {"stripe_count": 2}, (65536, 2, 63)),
        ("base", {"order": 20}, (65536, 4, 63)),
        ("plain", {}, (4 * MiB, 1, 61)),
        ("plain", {"order": 23}, (4 * MiB, 1, 63)),
        ("plain", {"stripe_unit": 65536}, (65536, 1, 63)),
    ):
        world.api.clone(world.ioctx, source, "snap", world.ioctx, "new clone", **how)
        opened = world.open(source)
        opened.copy(world.ioctx, "new copy", **how)
        opened.deep_copy(world.ioctx, "new deep", **how)
        opened.close()
        for name in ("new clone", "new copy", "new deep"):
            made = world.open(name)
            same((made.stripe_unit(), made.stripe_count(), made.features()), found, f"{name} {source} {how}")
            made.close()
        # Copies of what has snapshots have them, too.
        with world.rbd.Image(world.ioctx, "new deep") as deep:
            for snap in list(deep.list_snaps()):
                if deep.is_protected_snap(snap["name"]):
                    deep.unprotect_snap(snap["name"])
                deep.remove_snap(snap["name"])
        for name in ("new clone", "new copy", "new deep"):
            world.api.remove(world.ioctx, name)
    with refused(world.rbd.InvalidArgument, 22):
        world.api.clone(world.ioctx, "plain", "snap", world.ioctx, "none", order=20)
    with refused(world.rbd.InvalidArgument, 22):
        world.open("plain").copy(world.ioctx, "none", order=20)
