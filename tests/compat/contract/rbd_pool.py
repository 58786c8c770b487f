"""Class RBD: making, listing, renaming and removing images; pools and their namespaces."""

from __future__ import annotations

from .expecting import expect, refused, same, shaped
from .world import MiB, World


@expect("rbd.RBD", "rbd.RBD.version")
def version_is_three_numbers(world: World) -> None:
    """Any number may be made, and hold nothing. A tuple of three numbers; the first is 1."""
    version = world.rbd.RBD().version()
    same([type(part) for part in version], [int, int, int])
    same(version[0], 1)


@expect("rbd.RBD.create", "rbd.RBD.list")
def create_and_list(world: World) -> None:
    """A created image is listed by its name; it has the size that was asked for, and answers None."""
    same(world.api.list(world.ioctx), [])
    same(world.api.create(world.ioctx, "b", 4 * MiB, order=20, old_format=False), None)
    world.create("a")
    same(sorted(world.api.list(world.ioctx)), ["a", "b"])
    same(world.open("b").size(), 4 * MiB)


@expect("rbd.RBD.create")
def create_positional(world: World) -> None:
    """Order, old_format and features may be given by position, as Cinder and Glance do."""
    world.api.create(world.ioctx, "disk", MiB, 22, False, 3)
    image = world.open("disk")
    same(image.stat()["order"], 22)
    same(image.features() & 61, 1)


@expect("rbd.RBD.create", "rbd.Image.old_format")
def create_is_of_the_new_format(world: World) -> None:
    """The new format is the default."""
    world.api.create(world.ioctx, "new", MiB)
    same(world.open("new").old_format(), False)


@expect("rbd.RBD.create", "rbd.Image.old_format")
def create_of_the_old_format(world: World) -> None:
    """old_format=True is allowed, and makes an image of rbd_default_format, which is the new one."""
    world.api.create(world.ioctx, "old", MiB, old_format=True)
    same(world.open("old").old_format(), False)


@expect("rbd.RBD.create")
def create_with_what_only_the_new_format_has(world: World) -> None:
    """Features, striping or a data pool together with the old format are InvalidArgument."""
    with refused(world.rbd.InvalidArgument):
        world.api.create(world.ioctx, "old", MiB, old_format=True, features=1)


@expect("rbd.RBD.create")
def create_twice(world: World) -> None:
    """A name that is taken is ImageExists, EEXIST."""
    world.create()
    with refused(world.rbd.ImageExists, 17):
        world.create()


@expect("rbd.RBD.create")
def create_of_no_size(world: World) -> None:
    """Size 0 is allowed; a negative one is an OverflowError."""
    world.create("none", 0)
    same(world.open("none").size(), 0)
    with refused(OverflowError):
        world.create("less", -1)


@expect("rbd.RBD.create")
def create_with_wrong_orders(world: World) -> None:
    """An order below 12 or above 25 is refused: ArgumentOutOfRange, EDOM."""
    for order in (11, 26):
        with refused(world.rbd.ArgumentOutOfRange, 33):
            world.create(order=order)


@expect("rbd.RBD.create")
def create_with_odd_names(world: World) -> None:
    """Names may hold spaces, dots, and letters of any alphabet; one that is no text is InvalidArgument."""
    for name in ("with space", "ümlaut-Ω", "volume-1.deleted", "a" * 200):
        world.create(name)
        same(world.open(name).get_name(), name)
    with refused(world.rbd.InvalidArgument):
        world.api.create(world.ioctx, 7, MiB)


@expect("rbd.RBD.create", differs="a spec could not name such an image: InvalidArgument")
def create_with_slash_and_at(world: World) -> None:
    """Names with `/` and `@` are taken, though no spec can name them."""
    for name in ("a/b", "a@b"):
        world.create(name)
    same(sorted(world.api.list(world.ioctx)), ["a/b", "a@b"])


@expect("rbd.RBD.rename")
def rename_to_no_name(world: World) -> None:
    """InvalidArgument."""
    world.create()
    with refused(world.rbd.InvalidArgument, 22):
        world.api.rename(world.ioctx, "disk", "")


@expect("rbd.RBD.create")
def create_with_a_wrong_ioctx(world: World) -> None:
    """What is no Ioctx is a TypeError."""
    with refused(TypeError):
        world.api.create("rbd", "disk", MiB)


@expect("rbd.RBD.create", "rbd.Image.stripe_unit", "rbd.Image.stripe_count")
def create_without_striping(world: World) -> None:
    """The stripe unit is the object size, and the count 1, where they are not given, or given as these."""
    plain = world.fresh("plain")
    same((plain.stripe_unit(), plain.stripe_count()), (MiB, 1))
    given = world.fresh("given", stripe_unit=MiB, stripe_count=1)
    same((given.stripe_unit(), given.stripe_count()), (MiB, 1))


@expect(
    "rbd.RBD.create",
    "rbd.Image.stripe_unit",
    "rbd.Image.stripe_count",
    "rbd.Image.stat",
)
def create_with_striping(world: World) -> None:
    """stripe_unit and stripe_count are kept as given, the feature is set, and the objects are counted so."""
    image = world.fresh("striped", 9 * MiB, order=22, stripe_unit=65536, stripe_count=4, features=61)
    same((image.stripe_unit(), image.stripe_count(), image.features()), (65536, 4, 63))
    same(image.stat()["num_objs"], 4)
    plain = world.fresh("plain", features=63)
    same((plain.features(), plain.stat()["num_objs"]), (61, 8))
    for unit, count in ((65536, None), (None, 4), (5000, 2), (2 * MiB, 2)):
        with refused(world.rbd.InvalidArgument, 22):
            world.create("wrong", stripe_unit=unit, stripe_count=count)


@expect("rbd.RBD.create")
def create_with_features_that_need_others(world: World) -> None:
    """Object-map without exclusive-lock is InvalidArgument."""
    with refused(world.rbd.InvalidArgument, 22):
        world.create(features=1 | 8)


@expect("rbd.RBD.create", "rbd.Image.data_pool_id")
def create_with_a_data_pool(world: World) -> None:
    """A data pool that is not there is ImageNotFound; without one, the image's own pool holds its data."""
    with refused(world.rbd.ImageNotFound, 2):
        world.create("far", data_pool="no-such-pool")
    same(world.fresh().data_pool_id(), world.plain.get_pool_id())


@expect("rbd.RBD.list2", "rbd.ImageIterator")
def list2_gives_ids(world: World) -> None:
    """An iterator over dicts of id and name; the id opens the image."""
    world.create()
    (found,) = list(world.api.list2(world.ioctx))
    shaped(found, id=str, name=str)
    same(found["name"], "disk")
    image = world.keep(world.rbd.Image(world.ioctx, image_id=found["id"]))
    same((image.get_name(), image.id()), ("disk", found["id"]))


@expect("rbd.RBD.remove")
def remove(world: World) -> None:
    """A removed image is listed no more; its name is free again."""
    world.create()
    same(world.api.remove(world.ioctx, "disk"), None)
    same(world.api.list(world.ioctx), [])
    world.create()


@expect("rbd.RBD.remove")
def remove_what_is_not_there(world: World) -> None:
    """ImageNotFound, ENOENT."""
    with refused(world.rbd.ImageNotFound, 2):
        world.api.remove(world.ioctx, "none")


@expect("rbd.RBD.remove")
def remove_with_snapshots(world: World) -> None:
    """ImageHasSnapshots, ENOTEMPTY."""
    image = world.fresh()
    image.create_snap("snap")
    image.close()
    with refused(world.rbd.ImageHasSnapshots, 39):
        world.api.remove(world.ioctx, "disk")


@expect("rbd.RBD.remove")
def remove_while_open(world: World) -> None:
    """An image that someone has open to write is ImageBusy, EBUSY; read-only does not hinder."""
    image = world.fresh()
    with refused(world.rbd.ImageBusy, 16):
        world.api.remove(world.ioctx, "disk")
    image.close()
    world.open(read_only=True)
    world.api.remove(world.ioctx, "disk")


@expect("rbd.RBD.remove")
def remove_tells_its_progress(world: World) -> None:
    """on_progress is called with two numbers, done and whole."""
    world.fresh().write(b"x" * MiB, 0)
    world.forget()
    ioctx = world.keep(world.cluster.open_ioctx(world.pool))
    ioctx.set_namespace(world.namespace)
    calls: list[tuple[int, int]] = []

    def tell(done: int, whole: int) -> int:
        calls.append((done, whole))
        return 0

    world.api.remove(ioctx, "disk", on_progress=tell)
    assert calls, "it was never called"
    assert all(0 <= done <= whole for done, whole in calls), calls


@expect("rbd.RBD.rename")
def rename(world: World) -> None:
    """The image has the new name, and the same id; an open one follows."""
    image = world.fresh("old")
    same(world.api.rename(world.ioctx, "old", "new"), None)
    same(world.api.list(world.ioctx), ["new"])
    same(world.open("new").id(), image.id())


@expect("rbd.RBD.rename")
def rename_refuses(world: World) -> None:
    """A name that is taken is ImageExists, one that is not there ImageNotFound."""
    world.create("a")
    world.create("b")
    with refused(world.rbd.ImageExists, 17):
        world.api.rename(world.ioctx, "a", "b")
    with refused(world.rbd.ImageNotFound, 2):
        world.api.rename(world.ioctx, "none", "c")


@expect("rbd.RBD.namespace_create", "rbd.RBD.namespace_list", "rbd.RBD.namespace_exists")
def namespaces(world: World) -> None:
    """A namespace is made once, listed and found; a second time is ImageExists, no name InvalidArgument."""
    name = f"{world.namespace}-new"
    same(world.api.namespace_exists(world.plain, name), False)
    same(world.api.namespace_create(world.plain, name), None)
    same(world.api.namespace_exists(world.plain, name), True)
    assert name in world.api.namespace_list(world.plain)
    with refused(world.rbd.ImageExists, 17):
        world.api.namespace_create(world.plain, name)
    with refused(world.rbd.InvalidArgument, 22):
        world.api.namespace_create(world.plain, "")


@expect("rbd.RBD.namespace_remove")
def namespace_remove(world: World) -> None:
    """An empty one goes; one with an image is ImageBusy; one that is not there ImageNotFound."""
    world.create()
    with refused(world.rbd.ImageBusy, 16):
        world.api.namespace_remove(world.plain, world.namespace)
    world.api.remove(world.ioctx, "disk")
    same(world.api.namespace_remove(world.plain, world.namespace), None)
    with refused(world.rbd.ImageNotFound, 2):
        world.api.namespace_remove(world.plain, world.namespace)


@expect("rbd.RBD.create")
def create_in_no_namespace(world: World) -> None:
    """An ioctx of a namespace that was never made refuses images: ImageNotFound."""
    ioctx = world.keep(world.cluster.open_ioctx(world.pool))
    ioctx.set_namespace("never-made")
    with refused(world.rbd.ImageNotFound, 2):
        world.api.create(ioctx, "disk", MiB)


@expect("rbd.RBD.pool_init")
def pool_init_again(world: World) -> None:
    """A pool that is ready may be made ready again."""
    same(world.api.pool_init(world.plain, False), None)


@expect("rbd.RBD.pool_stats_get")
def pool_stats(world: World) -> None:
    """Eight numbers: images and trash, their bytes and snapshots; the namespace's of the ioctx."""
    world.create(size=4 * MiB)
    image = world.fresh("two", size=2 * MiB)
    image.create_snap("snap")
    stats = world.api.pool_stats_get(world.ioctx)
    kinds = ("provisioned_bytes", "max_provisioned_bytes", "snap_count", "count")
    shaped(stats, **{f"{where}_{kind}": int for where in ("image", "trash") for kind in kinds})
    same((stats["image_count"], stats["image_snap_count"]), (2, 1))
    same((stats["image_provisioned_bytes"], stats["trash_count"]), (6 * MiB, 0))


@expect("rbd.RBD.features_to_string", "rbd.RBD.features_from_string")
def feature_names(world: World) -> None:
    """Numbers to names, in order of the alphabet and with commas, and back; a bit that has no name is
    InvalidArgument.
    """
    same(world.api.features_to_string(61), "deep-flatten,exclusive-lock,fast-diff,layering,object-map")
    same(world.api.features_from_string("layering,deep-flatten"), 33)
    same(world.api.features_to_string(0), "")
    same(world.api.features_from_string("61"), 61)
    with refused(world.rbd.InvalidArgument, 22):
        world.api.features_to_string(1 << 40)
    with refused(world.rbd.InvalidArgument, 22):
        world.api.features_from_string("layering,nonsense")
