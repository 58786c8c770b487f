"""Class Ioctx: what a pool is, and what it can do besides: snapshots of its own, watchers, code of OSDs."""

from __future__ import annotations

from .expecting import expect, refused, same
from .world import World

SNAPSHOTS = "objects have no snapshots here: OSError, EOPNOTSUPP"


@expect("rados.Ioctx.alignment")
def alignment(world: World) -> None:
    """None: a replicated pool asks for none."""
    same(world.ioctx.alignment(), None)


@expect("rados.Ioctx.dup")
def dup(world: World) -> None:
    """Another Ioctx of the pool, with the namespace of then; it stays open when the first one is closed."""
    world.ioctx.write_full("thing", b"x")
    other = world.keep(world.ioctx.dup())
    same(type(other), world.rados.Ioctx)
    same(other.get_namespace(), world.namespace)
    world.ioctx.set_namespace("")
    same(other.get_namespace(), world.namespace)
    world.ioctx.close()
    same(other.read("thing"), b"x")


@expect("rados.Ioctx.get_locator_key", "rados.Ioctx.set_locator_key")
def locator_key(world: World) -> None:
    """Empty, until one is set."""
    same(world.ioctx.get_locator_key(), "")
    same(world.ioctx.set_locator_key("key"), None)
    same(world.ioctx.get_locator_key(), "key")
    world.ioctx.set_locator_key("")


@expect("rados.Ioctx.writesame")
def writesame(world: World) -> None:
    """The data again and again; a length that is no multiple of it, or no data, is InvalidArgumentError."""
    world.ioctx.write_full("thing", b"hello")
    same(world.ioctx.writesame("thing", b"z", 3, 1), None)
    same(world.ioctx.read("thing"), b"hzzzo")
    for data in (b"zz", b""):
        with refused(world.rados.InvalidArgumentError, 22):
            world.ioctx.writesame("thing", data, 3, 0)


@expect("rados.Ioctx.set_osdmap_full_try", "rados.Ioctx.unset_osdmap_full_try")
def full_try(world: World) -> None:
    """Both answer None."""
    same(world.ioctx.set_osdmap_full_try(), None)
    same(world.ioctx.unset_osdmap_full_try(), None)


@expect("rados.Ioctx.notify")
def notify(world: World) -> None:
    """True where no one watches; ObjectNotFound without object."""
    world.ioctx.write_full("thing", b"x")
    same(world.ioctx.notify("thing", "message", 1000), True)
    with refused(world.rados.ObjectNotFound, 2):
        world.ioctx.notify("none", "message", 1000)


@expect("rados.Ioctx.watch")
def watch_nothing(world: World) -> None:
    """ObjectNotFound without object."""
    with refused(world.rados.ObjectNotFound, 2):
        world.ioctx.watch("none", lambda *words: None)


@expect("rados.Ioctx.watch", "rados.Watch", differs="no one can watch objects: OSError, EOPNOTSUPP")
def watch(world: World) -> None:
    """callback hears what others tell by notify."""
    heard: list[bytes] = []
    world.ioctx.write_full("thing", b"x")
    with world.ioctx.watch("thing", lambda notice, notifier, number, data: heard.append(data)):
        world.ioctx.notify("thing", "message", 1000)
        world.soon(lambda: heard)


@expect("rados.Ioctx.execute")
def execute_nothing(world: World) -> None:
    """A class of code that is not there is OSError, EOPNOTSUPP; ObjectNotFound without object."""
    world.ioctx.write_full("thing", b"x")
    with refused(world.rados.OSError, 95):
        world.ioctx.execute("thing", "nonsense", "call", b"")
    with refused(world.rados.ObjectNotFound, 2):
        world.ioctx.execute("none", "hello", "say_hello", b"")


@expect(
    "rados.Ioctx.list_snaps",
    "rados.Ioctx.lookup_snap",
    "rados.Ioctx.create_snap",
    "rados.Ioctx.remove_snap",
    "rados.Ioctx.snap_rollback",
    "rados.SnapIterator",
)
def snapshots_of_a_pool_of_images(world: World) -> None:
    """A pool that holds images has no snapshots of its own: making one is InvalidArgumentError, all others
    are ObjectNotFound.
    """
    world.fresh().create_snap("snap")
    world.ioctx.write_full("thing", b"x")
    same(list(world.ioctx.list_snaps()), [])
    with refused(world.rados.InvalidArgumentError, 22):
        world.ioctx.create_snap("one")
    for call in (world.ioctx.lookup_snap, world.ioctx.remove_snap):
        with refused(world.rados.ObjectNotFound, 2):
            call("one")
    with refused(world.rados.ObjectNotFound, 2):
        world.ioctx.snap_rollback("thing", "one")


@expect(
    "rados.Ioctx.create_self_managed_snap",
    "rados.Ioctx.set_self_managed_snap_write",
    "rados.Ioctx.rollback_self_managed_snap",
    "rados.Ioctx.remove_self_managed_snap",
    "rados.Ioctx.set_read",
    differs=SNAPSHOTS,
)
def snapshots_by_number(world: World) -> None:
    """Writes with a snapshot's number keep what was; it can be read and brought back."""
    world.ioctx.write_full("thing", b"then")
    number = world.ioctx.create_self_managed_snap()
    world.ioctx.set_self_managed_snap_write([number])
    world.ioctx.write_full("thing", b"now")
    world.ioctx.set_read(number)
    same(world.ioctx.read("thing"), b"then")
    world.ioctx.set_read(world.rados.LIBRADOS_SNAP_HEAD)
    world.ioctx.rollback_self_managed_snap("thing", number)
    same(world.ioctx.read("thing"), b"then")
    world.ioctx.remove_self_managed_snap(number)


@expect("rados.Snap", "rados.Snap.get_timestamp", "rados.Ioctx.create_snap", differs=SNAPSHOTS)
def snapshots_of_another_pool(world: World) -> None:
    """A pool without images may be snapshotted as a whole."""
    name = f"{world.pool}-snapped"
    world.cluster.create_pool(name)
    try:
        with world.cluster.open_ioctx(name) as ioctx:
            ioctx.create_snap("one")
            (snap,) = list(ioctx.list_snaps())
            same((type(snap), snap.name), (world.rados.Snap, "one"))
            assert snap.get_timestamp()
    finally:
        world.cluster.delete_pool(name)


@expect("rados.Object.require_object_exists")
def object_exists(world: World) -> None:
    """Nothing while it is there; ObjectStateError once it was removed."""
    thing = world.rados.Object(world.ioctx, "thing")
    thing.write(b"x")
    same(thing.require_object_exists(), None)
    thing.remove()
    with refused(world.rados.ObjectStateError):
        thing.require_object_exists()
