"""Class Image: advisory locks, and the exclusive lock."""

from __future__ import annotations

from .expecting import expect, refused, same, shaped
from .world import World


@expect("rbd.Image.list_lockers")
def no_lockers(world: World) -> None:
    """An empty list where there is no lock."""
    same(world.fresh(features=1).list_lockers(), [])


@expect("rbd.Image.lock_exclusive", "rbd.Image.list_lockers", "rbd.Image.unlock")
def lock_exclusive(world: World) -> None:
    """Held once: again by the same is ImageExists, by others ImageBusy; listed with client, cookie,
    address.
    """
    image = world.fresh(features=1)
    same(image.lock_exclusive("cookie"), None)
    with refused(world.rbd.ImageExists, 17):
        image.lock_exclusive("cookie")
    with refused(world.rbd.ImageBusy, 16):
        image.lock_exclusive("other")
    facts = shaped(image.list_lockers(), tag=str, exclusive=bool, lockers=list)
    same((facts["tag"], facts["exclusive"], len(facts["lockers"])), ("", True, 1))
    client, cookie, address = facts["lockers"][0]
    assert client.startswith("client."), client
    same(cookie, "cookie")
    assert address
    same(image.unlock("cookie"), None)
    same(image.list_lockers(), [])
    with refused(world.rbd.ImageNotFound, 2):
        image.unlock("cookie")


@expect("rbd.Image.lock_shared")
def lock_shared(world: World) -> None:
    """Many hold it under one tag; another tag is ImageBusy."""
    image = world.fresh(features=1)
    same(image.lock_shared("one", "tag"), None)
    image.lock_shared("two", "tag")
    facts = image.list_lockers()
    same((facts["tag"], facts["exclusive"], len(facts["lockers"])), ("tag", False, 2))
    with refused(world.rbd.ImageBusy, 16):
        image.lock_shared("three", "other")


@expect("rbd.Image.break_lock")
def break_lock(world: World) -> None:
    """Another's lock is taken away; one that is not there is ImageNotFound."""
    image = world.fresh(features=1)
    image.lock_exclusive("cookie")
    client = image.list_lockers()["lockers"][0][0]
    with refused(world.rbd.ImageNotFound, 2):
        image.break_lock("client.999999", "cookie")
    cluster = world.rados.Rados(conffile=world.conf, rados_id="admin")
    cluster.conf_set("rbd_blocklist_on_break_lock", "false")
    cluster.connect()
    ioctx = world.keep(cluster.open_ioctx(world.pool))
    ioctx.set_namespace(world.namespace)
    other = world.keep(world.rbd.Image(ioctx, "disk"))
    same(other.break_lock(client, "cookie"), None)
    same(other.list_lockers(), [])


@expect("rbd.Image.lock_acquire", "rbd.Image.is_exclusive_lock_owner", "rbd.Image.lock_release")
def exclusive_lock(world: World) -> None:
    """Taken, known as one's own, and let go."""
    image = world.fresh(features=5)
    same(image.is_exclusive_lock_owner(), False)
    same(image.lock_acquire(world.rbd.RBD_LOCK_MODE_EXCLUSIVE), None)
    same(image.is_exclusive_lock_owner(), True)
    same(image.lock_release(), None)
    same(image.is_exclusive_lock_owner(), False)


@expect("rbd.Image.is_exclusive_lock_owner", "rbd.Image.write")
def writing_takes_the_lock(world: World) -> None:
    """The first write takes it; another who writes is handed it over."""
    one = world.fresh(features=5)
    two = world.open()
    one.write(b"one", 0)
    same((one.is_exclusive_lock_owner(), two.is_exclusive_lock_owner()), (True, False))
    two.write(b"two", 0)
    same((one.is_exclusive_lock_owner(), two.is_exclusive_lock_owner()), (False, True))
    two.flush()
    same(one.read(0, 3), b"two")


@expect("rbd.Image.lock_acquire")
def lock_acquire_keeps_others_out(world: World) -> None:
    """Who acquired it keeps it: another's write is ReadOnlyImage, his lock_acquire too."""
    one = world.fresh(features=5)
    two = world.open()
    one.lock_acquire(world.rbd.RBD_LOCK_MODE_EXCLUSIVE)
    with refused(world.rbd.ReadOnlyImage, 30):
        two.lock_acquire(world.rbd.RBD_LOCK_MODE_EXCLUSIVE)
    with refused(world.rbd.ReadOnlyImage, 30):
        two.write(b"two", 0)
    one.close()
    two.lock_acquire(world.rbd.RBD_LOCK_MODE_EXCLUSIVE)


@expect("rbd.Image.lock_acquire", "rbd.Image.is_exclusive_lock_owner")
def lock_without_the_feature(world: World) -> None:
    """InvalidArgument without the feature exclusive-lock."""
    image = world.fresh(features=1)
    with refused(world.rbd.InvalidArgument, 22):
        image.lock_acquire(world.rbd.RBD_LOCK_MODE_EXCLUSIVE)
    same(image.is_exclusive_lock_owner(), False)


@expect("rbd.Image.lock_get_owners", "rbd.LockOwnerIterator")
def lock_owners(world: World) -> None:
    """Dicts of mode and owner; none where nobody has it."""
    image = world.fresh(features=5)
    same(list(image.lock_get_owners()), [])
    image.lock_acquire(world.rbd.RBD_LOCK_MODE_EXCLUSIVE)
    (one,) = list(image.lock_get_owners())
    shaped(one, mode=int, owner=str)
    same(one["mode"], world.rbd.RBD_LOCK_MODE_EXCLUSIVE)


@expect("rbd.Image.lock_break")
def lock_break(world: World) -> None:
    """The owner loses it; a wrong owner is ImageBusy."""
    one = world.fresh(features=5)
    one.lock_acquire(world.rbd.RBD_LOCK_MODE_EXCLUSIVE)
    (owner,) = list(one.lock_get_owners())
    cluster = world.rados.Rados(conffile=world.conf, rados_id="admin")
    cluster.conf_set("rbd_blocklist_on_break_lock", "false")
    cluster.connect()
    ioctx = world.keep(cluster.open_ioctx(world.pool))
    ioctx.set_namespace(world.namespace)
    two = world.keep(world.rbd.Image(ioctx, "disk"))
    with refused(world.rbd.ImageBusy, 16):
        two.lock_break(world.rbd.RBD_LOCK_MODE_EXCLUSIVE, "client.999999")
    same(two.lock_break(world.rbd.RBD_LOCK_MODE_EXCLUSIVE, owner["owner"]), None)
    same(list(two.lock_get_owners()), [])
