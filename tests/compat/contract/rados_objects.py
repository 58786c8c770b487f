"""Class Ioctx: small objects, their attributes, locks, and what a pool is for."""

from __future__ import annotations

import time

from .expecting import expect, refused, same, shaped
from .world import World


@expect("rados.Ioctx.write_full", "rados.Ioctx.read", "rados.Ioctx.stat")
def write_full_and_read(world: World) -> None:
    """write_full replaces the whole; stat gives the size and a struct_time; read at most 8192 bytes by
    default.
    """
    same(world.ioctx.write_full("thing", b"x" * 10000), 0)
    same(len(world.ioctx.read("thing")), 8192)
    same(len(world.ioctx.read("thing", 20000)), 10000)
    same(world.ioctx.read("thing", 3, 9999), b"x")
    same(world.ioctx.read("thing", 3, 10001), b"")
    world.ioctx.write_full("thing", b"short")
    size, when = world.ioctx.stat("thing")
    same(size, 5)
    same(type(when), time.struct_time)


@expect("rados.Ioctx.write", "rados.Ioctx.append", "rados.Ioctx.trunc")
def write_append_trunc(world: World) -> None:
    """write at an offset leaves zeros before it; append adds; trunc cuts and extends."""
    same(world.ioctx.write("thing", b"ab", 2), 0)
    same(world.ioctx.append("thing", b"cd"), 0)
    same(world.ioctx.read("thing"), b"\0\0abcd")
    same(world.ioctx.trunc("thing", 3), 0)
    same(world.ioctx.read("thing"), b"\0\0a")
    world.ioctx.trunc("thing", 5)
    same(world.ioctx.read("thing"), b"\0\0a\0\0")


@expect("rados.Ioctx.remove_object")
def remove_object(world: World) -> None:
    """True; what is not there is ObjectNotFound, for reading and stat too."""
    world.ioctx.write_full("thing", b"x")
    same(world.ioctx.remove_object("thing"), True)
    for call in (world.ioctx.remove_object, world.ioctx.read, world.ioctx.stat):
        with refused(world.rados.ObjectNotFound, 2):
            call("thing")


@expect("rados.Ioctx.read", "rados.Ioctx.write")
def objects_with_wrong_types(world: World) -> None:
    """A name that is no text, or data that is no bytes, is a TypeError."""
    with refused(TypeError):
        world.ioctx.write_full("thing", "text")
    with refused(TypeError):
        world.ioctx.read(7)


@expect(
    "rados.Ioctx.set_xattr",
    "rados.Ioctx.get_xattr",
    "rados.Ioctx.get_xattrs",
    "rados.Ioctx.rm_xattr",
    "rados.XattrIterator",
)
def xattrs(world: World) -> None:
    """Bytes under a name; listed as pairs; one that is not there is NoData, ENODATA."""
    world.ioctx.write_full("thing", b"x")
    same(world.ioctx.set_xattr("thing", "a", b"one"), True)
    world.ioctx.set_xattr("thing", "b", b"\0two")
    same(world.ioctx.get_xattr("thing", "b"), b"\0two")
    same(sorted(world.ioctx.get_xattrs("thing")), [("a", b"one"), ("b", b"\0two")])
    same(world.ioctx.rm_xattr("thing", "a"), True)
    with refused(world.rados.NoData, 61):
        world.ioctx.get_xattr("thing", "a")
    with refused(world.rados.ObjectNotFound, 2):
        world.ioctx.get_xattr("none", "a")


@expect("rados.Ioctx.list_objects", "rados.ObjectIterator", "rados.Object")
def list_objects(world: World) -> None:
    """Objects with key, of the namespace alone."""
    world.ioctx.set_namespace(f"{world.namespace}-objects")
    for name in ("one", "two"):
        world.ioctx.write_full(name, b"x")
    same(sorted(each.key for each in world.ioctx.list_objects()), ["one", "two"])


@expect(
    "rados.Object",
    "rados.Object.write",
    "rados.Object.read",
    "rados.Object.seek",
    "rados.Object.stat",
    "rados.Object.remove",
)
def object_class(world: World) -> None:
    """Object(ioctx, key): reading and writing move on; a removed one is an ObjectStateError."""
    thing = world.rados.Object(world.ioctx, "thing")
    same(thing.write(b"hello"), 0)
    thing.seek(1)
    same((thing.read(2), thing.read()), (b"el", b"lo"))
    same(thing.stat()[0], 5)
    same(thing.remove(), None)
    with refused(world.rados.ObjectStateError):
        thing.read()


@expect(
    "rados.Object.set_xattr", "rados.Object.get_xattr", "rados.Object.get_xattrs", "rados.Object.rm_xattr"
)
def object_xattrs(world: World) -> None:
    """As the Ioctx's."""
    thing = world.rados.Object(world.ioctx, "thing")
    thing.write(b"x")
    same(thing.set_xattr("a", b"one"), True)
    same(thing.get_xattr("a"), b"one")
    same(list(thing.get_xattrs()), [("a", b"one")])
    same(thing.rm_xattr("a"), True)


@expect("rados.Object.stat", "rados.Object.read")
def object_that_is_not_there(world: World) -> None:
    """ObjectNotFound when it is read; Cinder backup asks so whether its metadata is there."""
    thing = world.rados.Object(world.ioctx, "none")
    with refused(world.rados.ObjectNotFound, 2):
        thing.stat()
    with refused(world.rados.ObjectNotFound, 2):
        thing.read()


@expect("rados.Ioctx.get_stats")
def ioctx_stats(world: World) -> None:
    """Twelve numbers of the pool."""
    names = (
        "num_bytes",
        "num_kb",
        "num_objects",
        "num_object_clones",
        "num_object_copies",
        "num_objects_missing_on_primary",
        "num_objects_unfound",
        "num_objects_degraded",
        "num_rd",
        "num_rd_kb",
        "num_wr",
        "num_wr_kb",
    )
    shaped(world.plain.get_stats(), **dict.fromkeys(names, int))


@expect("rados.Ioctx.get_last_version")
def last_version(world: World) -> None:
    """A number that grows with the writes of this Ioctx."""
    world.ioctx.write_full("thing", b"x")
    first = world.ioctx.get_last_version()
    world.ioctx.write_full("thing", b"y")
    assert world.ioctx.get_last_version() > first


@expect("rados.Ioctx.application_list", "rados.Ioctx.application_enable")
def applications(world: World) -> None:
    """A pool that rbd made ready is for `rbd`; another use is a PermissionError unless forced."""
    same(world.plain.application_list(), ["rbd"])
    same(world.plain.application_enable("rbd"), None)
    with refused(world.rados.PermissionError, 1):
        world.plain.application_enable("rgw")


@expect(
    "rados.Ioctx.application_metadata_set",
    "rados.Ioctx.application_metadata_get",
    "rados.Ioctx.application_metadata_list",
    "rados.Ioctx.application_metadata_remove",
)
def application_metadata(world: World) -> None:
    """Text under a key; one that is not there is a KeyError."""
    same(world.plain.application_metadata_set("rbd", "key", "value"), None)
    same(world.plain.application_metadata_get("rbd", "key"), "value")
    assert ("key", "value") in world.plain.application_metadata_list("rbd")
    same(world.plain.application_metadata_remove("rbd", "key"), None)
    with refused(KeyError):
        world.plain.application_metadata_get("rbd", "key")


@expect("rados.Ioctx.lock_exclusive", "rados.Ioctx.unlock", differs="not supported: OSError, EOPNOTSUPP")
def object_locks(world: World) -> None:
    """Held once: ObjectExists for the same cookie, ObjectBusy for others; let go by its cookie."""
    world.ioctx.write_full("thing", b"x")
    same(world.ioctx.lock_exclusive("thing", "lock", "cookie"), None)
    with refused(world.rados.ObjectExists, 17):
        world.ioctx.lock_exclusive("thing", "lock", "cookie")
    with refused(world.rados.ObjectBusy, 16):
        world.ioctx.lock_exclusive("thing", "lock", "other")
    same(world.ioctx.unlock("thing", "lock", "cookie"), None)
    with refused(world.rados.ObjectNotFound, 2):
        world.ioctx.unlock("thing", "lock", "cookie")


@expect("rados.Ioctx.lock_shared", differs="not supported: OSError, EOPNOTSUPP")
def object_locks_shared(world: World) -> None:
    """Many hold it under one tag."""
    world.ioctx.write_full("thing", b"x")
    world.ioctx.lock_shared("thing", "lock", "one", "tag")
    world.ioctx.lock_shared("thing", "lock", "two", "tag")
    with refused(world.rados.ObjectBusy, 16):
        world.ioctx.lock_exclusive("thing", "lock", "three")


@expect(
    "rados.Ioctx.aio_write_full",
    "rados.Ioctx.aio_read",
    "rados.Ioctx.aio_remove",
    "rados.Ioctx.aio_flush",
    "rados.Completion.wait_for_complete_and_cb",
    "rados.Completion.get_return_value",
)
def aio_objects(world: World) -> None:
    """oncomplete gets the completion, for a read the data too."""
    heard: list[object] = []
    completion = world.ioctx.aio_write_full("thing", b"hello", oncomplete=lambda done: heard.append(done))
    completion.wait_for_complete_and_cb()
    same((len(heard), completion.get_return_value(), completion.is_complete()), (1, 0, True))
    completion = world.ioctx.aio_read("thing", 10, 0, lambda done, data: heard.append(data))
    completion.wait_for_complete_and_cb()
    same((heard[1], completion.get_return_value()), (b"hello", 5))
    completion = world.ioctx.aio_remove("thing")
    completion.wait_for_complete()
    same(completion.get_return_value(), 0)
    same(world.ioctx.aio_flush(), None)
