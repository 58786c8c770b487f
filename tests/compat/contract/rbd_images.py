"""Class Image: opening it, its facts, resizing, features, copies."""

from __future__ import annotations

import datetime

from .expecting import expect, refused, same, shaped
from .world import MiB, World


@expect("rbd.Image")
def open_by_name(world: World) -> None:
    """Positional ioctx, name, snapshot, read_only, as the drivers give them."""
    image = world.fresh()
    image.create_snap("snap")
    image.close()
    again = world.keep(world.rbd.Image(world.ioctx, "disk", "snap", True))
    same(again.get_name(), "disk")


@expect("rbd.Image")
def open_what_is_not_there(world: World) -> None:
    """ImageNotFound, ENOENT: for a name, an id, a snapshot."""
    world.create()
    for how in ({"name": "none"}, {"image_id": "12345"}, {"name": "disk", "snapshot": "none"}):
        with refused(world.rbd.ImageNotFound, 2):
            world.rbd.Image(world.ioctx, **how)


@expect("rbd.Image")
def open_needs_one_of_name_and_id(world: World) -> None:
    """Neither, or both, is InvalidArgument."""
    world.create()
    with refused(world.rbd.InvalidArgument):
        world.rbd.Image(world.ioctx)
    with refused(world.rbd.InvalidArgument):
        world.rbd.Image(world.ioctx, name="disk", image_id="12")


@expect("rbd.Image", "rbd.Image.close")
def context_manager(world: World) -> None:
    """`with` gives the image, and closes it."""
    world.create()
    with world.rbd.Image(world.ioctx, "disk") as image:
        same(image.size(), 8 * MiB)
    with refused(world.rbd.InvalidArgument):
        image.size()


@expect("rbd.Image.close", "rbd.Image.require_not_closed")
def closed_images(world: World) -> None:
    """Closing twice is allowed; any other call on a closed image is InvalidArgument."""
    image = world.fresh()
    image.require_not_closed()
    image.close()
    image.close()
    with refused(world.rbd.InvalidArgument):
        image.require_not_closed()
    with refused(world.rbd.InvalidArgument):
        image.read(0, 1)


@expect("rbd.Image.stat")
def stat(world: World) -> None:
    """Seven facts; the parent's two say nothing: no name, in bytes, and -1 as a number of 64 bits without
    sign.
    """
    facts = world.fresh(size=10 * MiB, order=22).stat()
    shaped(
        facts,
        size=int,
        obj_size=int,
        num_objs=int,
        order=int,
        block_name_prefix=str,
        parent_pool=int,
        parent_name=bytes,
    )
    same((facts["size"], facts["obj_size"], facts["num_objs"], facts["order"]), (10 * MiB, 4 * MiB, 3, 22))
    same((facts["parent_pool"], facts["parent_name"]), (2**64 - 1, b""))


@expect("rbd.Image.get_name", "rbd.Image.id", "rbd.Image.block_name_prefix")
def names_of_an_image(world: World) -> None:
    """The name, the id, and the prefix, which is `rbd_data.` and the id."""
    image = world.fresh()
    same(image.get_name(), "disk")
    assert image.id()
    same(image.block_name_prefix(), f"rbd_data.{image.id()}")


@expect("rbd.Image.old_format")
def old_format(world: World) -> None:
    """False."""
    same(world.fresh().old_format(), False)


@expect("rbd.Image.features")
def features_by_default(world: World) -> None:
    """Layering, exclusive-lock, object-map, fast-diff and deep-flatten: 61."""
    world.api.create(world.ioctx, "disk", MiB)
    same(world.open().features(), 61)


@expect("rbd.Image.features", "rbd.RBD.create")
def features_given(world: World) -> None:
    """Those that were asked for."""
    same(world.fresh("one", features=1).features(), 1)
    same(world.fresh("five", features=5).features(), 5)


@expect("rbd.Image.flags")
def flags(world: World) -> None:
    """None are set."""
    same(world.fresh().flags(), 0)


@expect("rbd.Image.update_features")
def update_features(world: World) -> None:
    """Features are switched by their bits."""
    image = world.fresh(features=1 | 4 | 8 | 16)
    image.update_features(8 | 16, False)
    same(image.features(), 5)
    image.update_features(4, False)
    same(image.features(), 1)
    image.update_features(4, True)
    same(image.features(), 5)


@expect("rbd.Image.update_features")
def update_features_refuses(world: World) -> None:
    """What cannot be switched, or what others need, is InvalidArgument."""
    image = world.fresh(features=1 | 4 | 8)
    with refused(world.rbd.InvalidArgument, 22):
        image.update_features(1, False)
    with refused(world.rbd.InvalidArgument, 22):
        image.update_features(4, False)
    with refused(world.rbd.InvalidArgument, 22):
        image.update_features(32, True)


@expect("rbd.Image.op_features")
def op_features(world: World) -> None:
    """0 for a plain image."""
    same(world.fresh().op_features(), 0)


@expect("rbd.Image.resize", "rbd.Image.size")
def resize(world: World) -> None:
    """It grows, and shrinks by default; what is cut off is gone."""
    image = world.fresh()
    image.write(b"x" * MiB, 7 * MiB)
    image.resize(16 * MiB)
    same(image.size(), 16 * MiB)
    image.resize(4 * MiB)
    same(image.size(), 4 * MiB)
    image.resize(8 * MiB)
    same(image.read(7 * MiB, MiB), bytes(MiB))


@expect("rbd.Image.resize")
def resize_without_shrinking(world: World) -> None:
    """allow_shrink=False refuses a smaller size: InvalidArgument."""
    image = world.fresh()
    with refused(world.rbd.InvalidArgument):
        image.resize(4 * MiB, allow_shrink=False)
    same(image.size(), 8 * MiB)


@expect("rbd.Image.resize")
def resize_read_only(world: World) -> None:
    """ReadOnlyImage, EROFS."""
    world.create()
    with refused(world.rbd.ReadOnlyImage, 30):
        world.open(read_only=True).resize(MiB)


@expect("rbd.Image.create_timestamp", "rbd.Image.access_timestamp", "rbd.Image.modify_timestamp")
def timestamps(world: World) -> None:
    """Three datetimes without a time zone, in UTC."""
    image = world.fresh()
    now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    for moment in (image.create_timestamp(), image.access_timestamp(), image.modify_timestamp()):
        same(type(moment), datetime.datetime)
        same(moment.tzinfo, None)
        assert abs(now - moment) < datetime.timedelta(minutes=5), moment


@expect("rbd.Image.copy")
def copy(world: World) -> None:
    """A new image with the same content, without the snapshots."""
    image = world.fresh()
    image.write(b"abc", MiB)
    image.create_snap("snap")
    image.copy(world.ioctx, "copy")
    copied = world.open("copy")
    same(copied.read(MiB, 4), b"abc\0")
    same(list(copied.list_snaps()), [])
    same(copied.size(), 8 * MiB)


@expect("rbd.Image.copy")
def copy_of_a_snapshot(world: World) -> None:
    """An image that is opened at a snapshot is copied as of then."""
    image = world.fresh()
    image.write(b"then", 0)
    image.create_snap("snap")
    image.write(b"now!", 0)
    world.open(snapshot="snap").copy(world.ioctx, "copy")
    same(world.open("copy").read(0, 4), b"then")


@expect("rbd.Image.copy")
def copy_onto_another(world: World) -> None:
    """A name that is taken is ImageExists."""
    image = world.fresh()
    world.create("taken")
    with refused(world.rbd.ImageExists, 17):
        image.copy(world.ioctx, "taken")


@expect("rbd.Image.copy")
def copy_with_options(world: World) -> None:
    """Features, order, and striping may be given."""
    image = world.fresh()
    image.write(b"x", 0)
    image.copy(world.ioctx, "copy", features=1, order=20)
    copied = world.open("copy")
    same((copied.features(), copied.stat()["order"]), (1, 20))


@expect("rbd.Image.copy")
def copy_across_pools(world: World) -> None:
    """The other pool's ioctx takes the copy."""
    image = world.fresh("disk")
    image.write(b"far", 0)
    name = f"{world.namespace}-copy"
    image.copy(world.second, name)
    with world.rbd.Image(world.second, name) as far:
        same(far.read(0, 3), b"far")
    world.api.remove(world.second, name)


@expect("rbd.Image.deep_copy")
def deep_copy(world: World) -> None:
    """Snapshots come along."""
    image = world.fresh()
    image.write(b"then", 0)
    image.create_snap("snap")
    image.write(b"now!", 0)
    image.deep_copy(world.ioctx, "copy")
    copied = world.open("copy")
    same([snap["name"] for snap in copied.list_snaps()], ["snap"])
    same(copied.read(0, 4), b"now!")
    same(world.open("copy", snapshot="snap").read(0, 4), b"then")


@expect("rbd.Image.rebuild_object_map")
def rebuild_object_map(world: World) -> None:
    """Done; without the feature, InvalidArgument."""
    same(world.fresh(features=61).rebuild_object_map(), None)
    with refused(world.rbd.InvalidArgument, 22):
        world.fresh("plain", features=1).rebuild_object_map()


@expect("rbd.Image.sparsify")
def sparsify(world: World) -> None:
    """Content stays as it was; a size that is no power of two, or too small, is InvalidArgument."""
    image = world.fresh()
    image.write(b"x" * 4096 + bytes(MiB - 4096), 0)
    image.sparsify(4096)
    same(image.read(0, 8192), b"x" * 4096 + bytes(4096))
    with refused(world.rbd.InvalidArgument, 22):
        image.sparsify(16)


@expect("rbd.Image.watchers_list", "rbd.WatcherIterator")
def watchers(world: World) -> None:
    """Who has it open to write is a watcher, with address, cookie and id; a reader is none."""
    world.create()
    reader = world.open(read_only=True)
    same(list(reader.watchers_list()), [])
    world.open()
    (one,) = list(reader.watchers_list())
    shaped(one, addr=str, id=int, cookie=int)
    world.open()
    same(len(list(reader.watchers_list())), 2)


@expect("rbd.Image.update_features", "rbd.RBD.create")
def journaling(world: World) -> None:
    """Journaling needs the exclusive lock, at creation and later; both may come and go together."""
    image = world.fresh(features=1)
    with refused(world.rbd.InvalidArgument, 22):
        image.update_features(64, True)
    image.update_features(64 | 4, True)
    same(image.features(), 69)
    for bits, enabled in ((64, True), (4, False)):
        with refused(world.rbd.InvalidArgument, 22):
            image.update_features(bits, enabled)
    image.update_features(64, False)
    same(image.features(), 5)
    with refused(world.rbd.InvalidArgument, 22):
        image.update_features(64, False)
    image.update_features(64, True)
    image.update_features(64 | 4, False)
    same(image.features(), 1)
    same(world.fresh("made", features=125).features(), 125)
    for bits in (64, 65):
        with refused(world.rbd.InvalidArgument, 22):
            world.create("refused", features=bits)


@expect(
    "rbd.Image.mirror_image_enable",
    "rbd.Image.mirror_image_disable",
    "rbd.Image.mirror_image_get_info",
    "rbd.Image.mirror_image_get_mode",
    off=True,
)
def journaling_without_mirroring(world: World) -> None:
    """An image with journaling is used as any other, and not mirrored."""
    image = world.fresh(features=125)
    image.write(b"hello", 0)
    same(image.read(0, 5), b"hello")
    image.create_snap("snap")
    image.resize(16 * MiB)
    image.rollback_to_snap("snap")
    same(image.size(), 8 * MiB)
    same(image.mirror_image_get_mode(), 0)
    same(image.mirror_image_get_info()["state"], world.rbd.RBD_MIRROR_IMAGE_DISABLED)
    for call in (image.mirror_image_enable, lambda: image.mirror_image_disable(True)):
        with refused(world.rbd.InvalidArgument, 22):
            call()
    image.protect_snap("snap")
    world.api.clone(world.ioctx, "disk", "snap", world.ioctx, "clone")
    same(world.open("clone").features(), 125)
