"""Class Ioctx: operations of several steps, and omaps."""

from __future__ import annotations

import contextlib
from typing import Any

from .expecting import expect, refused, same
from .world import World


def keys_of(
    world: World, name: str, after: str = "", prefix: str = "", most: int = 100
) -> list[tuple[str, bytes]]:
    with world.rados.ReadOpCtx() as operation:
        found, status = world.ioctx.get_omap_vals(operation, after, prefix, most)
        same(status, 0)
        world.ioctx.operate_read_op(operation, name)
        return list(found)


def store(world: World, name: str, values: dict[str, bytes]) -> None:
    with world.rados.WriteOpCtx() as operation:
        world.ioctx.set_omap(operation, tuple(values), tuple(values.values()))
        world.ioctx.operate_write_op(operation, name)


@expect(
    "rados.Ioctx.set_omap",
    "rados.Ioctx.get_omap_vals",
    "rados.Ioctx.operate_write_op",
    "rados.Ioctx.operate_read_op",
    "rados.WriteOpCtx",
    "rados.ReadOpCtx",
    "rados.OmapIterator",
)
def omap(world: World) -> None:
    """Pairs in order of their keys, after a key, with a prefix, and no more than asked for."""
    store(world, "thing", {"b2": b"two", "a": b"\0", "b1": b"one", "c": b""})
    same(keys_of(world, "thing"), [("a", b"\0"), ("b1", b"one"), ("b2", b"two"), ("c", None)])
    same(keys_of(world, "thing", prefix="b"), [("b1", b"one"), ("b2", b"two")])
    same(keys_of(world, "thing", after="b1", most=1), [("b2", b"two")])


@expect("rados.Ioctx.get_omap_keys", "rados.Ioctx.get_omap_vals_by_keys")
def omap_keys(world: World) -> None:
    """Keys alone come with None; values by key for those that are there."""
    store(world, "thing", {"a": b"one", "b": b"two"})
    with world.rados.ReadOpCtx() as operation:
        found, _ = world.ioctx.get_omap_keys(operation, "", 10)
        world.ioctx.operate_read_op(operation, "thing")
        same(list(found), [("a", None), ("b", None)])
    with world.rados.ReadOpCtx() as operation:
        found, _ = world.ioctx.get_omap_vals_by_keys(operation, ("b", "none"))
        world.ioctx.operate_read_op(operation, "thing")
        same(list(found), [("b", b"two")])


@expect("rados.Ioctx.remove_omap_keys", "rados.Ioctx.clear_omap")
def omap_removed(world: World) -> None:
    """Some keys, or all."""
    store(world, "thing", {"a": b"one", "b": b"two", "c": b"three"})
    with world.rados.WriteOpCtx() as operation:
        world.ioctx.remove_omap_keys(operation, ("a",))
        world.ioctx.operate_write_op(operation, "thing")
    same([key for key, _ in keys_of(world, "thing")], ["b", "c"])
    with world.rados.WriteOpCtx() as operation:
        world.ioctx.clear_omap(operation)
        world.ioctx.operate_write_op(operation, "thing")
    same(keys_of(world, "thing"), [])


@expect("rados.Ioctx.operate_read_op")
def read_operation_on_nothing(world: World) -> None:
    """ObjectNotFound."""
    with world.rados.ReadOpCtx() as operation:
        world.ioctx.get_omap_vals(operation, "", "", 10)
        with refused(world.rados.ObjectNotFound, 2):
            world.ioctx.operate_read_op(operation, "none")


def operate(world: World, name: str, *steps: tuple[Any, ...]) -> None:
    with world.rados.WriteOpCtx() as operation:
        for step, *given in steps:
            getattr(operation, step)(*given)
        world.ioctx.operate_write_op(operation, name)


@expect(
    "rados.WriteOp.write_full",
    "rados.WriteOp.append",
    "rados.WriteOp.write",
    "rados.WriteOp.truncate",
    "rados.WriteOp.zero",
)
def write_operations(world: World) -> None:
    """Steps are done in their order."""
    operate(
        world,
        "thing",
        ("write_full", b"hello"),
        ("append", b" world"),
        ("write", b"J", 0),
        ("zero", 2, 2),
        ("truncate", 7),
    )
    same(world.ioctx.read("thing"), b"Je\0\0o w")


@expect("rados.WriteOp.zero", differs="a fault of the real module; cowshed does as its signature says")
def write_operation_zero(world: World) -> None:
    """zero(offset, length) takes its two numbers the other way round."""
    operate(world, "thing", ("write_full", b"hello"), ("zero", 1, 2))
    same(world.ioctx.read("thing"), b"he\0lo")


@expect("rados.WriteOp.new", "rados.WriteOp.remove")
def write_operation_new(world: World) -> None:
    """new with LIBRADOS_CREATE_EXCLUSIVE is ObjectExists where there is one, and nothing else is done
    then.
    """
    operate(world, "thing", ("new", world.rados.LIBRADOS_CREATE_EXCLUSIVE), ("append", b"one"))
    with refused(world.rados.ObjectExists, 17):
        operate(world, "thing", ("new", world.rados.LIBRADOS_CREATE_EXCLUSIVE), ("append", b"two"))
    same(world.ioctx.read("thing"), b"one")
    operate(world, "thing", ("remove",))
    with refused(world.rados.ObjectNotFound, 2):
        world.ioctx.stat("thing")


@expect("rados.WriteOp.set_xattr", "rados.WriteOp.rm_xattr")
def write_operation_xattrs(world: World) -> None:
    """Attributes change with the rest."""
    operate(world, "thing", ("write_full", b"x"), ("set_xattr", "a", b"one"))
    same(world.ioctx.get_xattr("thing", "a"), b"one")
    operate(world, "thing", ("rm_xattr", "a"))
    same(list(world.ioctx.get_xattrs("thing")), [])


@expect("rados.WriteOp.cmpext", "rados.Ioctx.cmpext")
def compare(world: World) -> None:
    """0 where the bytes are equal; else minus 4095 and the first place that is not; a step that compares
    stops all.
    """
    world.ioctx.write_full("thing", b"hello")
    same(world.ioctx.cmpext("thing", b"hello", 0), 0)
    same(world.ioctx.cmpext("thing", b"heLlo", 0), -(4095 + 2))
    with contextlib.suppress(world.rados.Error):
        operate(world, "thing", ("cmpext", b"other", 0), ("write_full", b"changed"))
    same(world.ioctx.read("thing"), b"hello")


@expect(
    "rados.Ioctx.create_write_op",
    "rados.Ioctx.release_write_op",
    "rados.Ioctx.create_read_op",
    "rados.Ioctx.release_read_op",
    "rados.WriteOp",
    "rados.WriteOp.create",
    "rados.WriteOp.release",
    "rados.ReadOp",
    "rados.ReadOp.create",
    "rados.ReadOp.release",
)
def operations_without_a_context(world: World) -> None:
    """Made by the Ioctx and released by it; or made, and released, by themselves."""
    write = world.ioctx.create_write_op()
    same(type(write), world.rados.WriteOp)
    write.write_full(b"hello")
    same(world.ioctx.operate_write_op(write, "thing"), None)
    same(world.ioctx.release_write_op(write), None)
    same(world.ioctx.read("thing"), b"hello")
    read = world.ioctx.create_read_op()
    same(type(read), world.rados.ReadOp)
    same(world.ioctx.release_read_op(read), None)
    for kind in (world.rados.WriteOp, world.rados.ReadOp):
        operation = kind()
        same(operation.create(), operation)
        same(operation.release(), None)


@expect("rados.OpCtx")
def contexts_of_operations(world: World) -> None:
    """Both kinds have one, of the same base."""
    for kind in (world.rados.WriteOpCtx, world.rados.ReadOpCtx):
        assert issubclass(kind, world.rados.OpCtx)


@expect("rados.WriteOp.writesame", "rados.WriteOp.set_flags")
def write_operation_writesame(world: World) -> None:
    """The data again and again; flags of the step before are taken."""
    flag = world.rados.LIBRADOS_OP_FLAG_FADVISE_RANDOM
    operate(world, "thing", ("write_full", b"......"), ("set_flags", flag), ("writesame", b"ab", 4, 1))
    same(world.ioctx.read("thing"), b".abab.")


@expect("rados.WriteOp.assert_version")
def write_operation_version(world: World) -> None:
    """Nothing is done unless the object has the version: OSError, ERANGE for one that it had before."""
    world.ioctx.write_full("thing", b"one")
    world.ioctx.write_full("thing", b"two")
    now = world.ioctx.get_last_version()
    with refused(world.rados.OSError, 34):
        operate(world, "thing", ("assert_version", 1), ("write_full", b"three"))
    same(world.ioctx.read("thing"), b"two")
    operate(world, "thing", ("assert_version", now), ("write_full", b"three"))
    same(world.ioctx.read("thing"), b"three")


@expect("rados.WriteOp.omap_cmp")
def write_operation_omap_cmp(world: World) -> None:
    """Nothing is done unless the key has the value: OSError, ECANCELED. Unequal, and less or equal, are no
    questions: InvalidArgumentError.
    """
    store(world, "thing", {"key": b"value"})
    operate(world, "thing", ("omap_cmp", "key", "value"), ("write_full", b"one"))
    with refused(world.rados.OSError, 125):
        operate(world, "thing", ("omap_cmp", "key", "other"), ("write_full", b"two"))
    for asked in ("NE", "GTE", "LTE"):
        way = getattr(world.rados, f"LIBRADOS_CMPXATTR_OP_{asked}")
        with refused(world.rados.InvalidArgumentError, 22):
            operate(world, "thing", ("omap_cmp", "key", "value", way), ("write_full", b"two"))
    same(world.ioctx.read("thing"), b"one")


@expect("rados.WriteOp.omap_cmp", differs="values are compared for equality only: OSError, EOPNOTSUPP")
def write_operation_omap_order(world: World) -> None:
    """Whether the key's value is less than the given one, or greater."""
    store(world, "thing", {"key": b"m"})
    operate(world, "thing", ("omap_cmp", "key", "n", world.rados.LIBRADOS_CMPXATTR_OP_LT), ("append", b"1"))
    operate(world, "thing", ("omap_cmp", "key", "l", world.rados.LIBRADOS_CMPXATTR_OP_GT), ("append", b"2"))
    same(world.ioctx.read("thing"), b"12")


@expect("rados.WriteOp.execute")
def write_operation_execute(world: World) -> None:
    """A class of code that is not there is OSError, EOPNOTSUPP."""
    with refused(world.rados.OSError, 95):
        operate(world, "thing", ("write_full", b"x"), ("execute", "nonsense", "call", b""))


@expect("rados.ReadOp.cmpext", "rados.ReadOp.set_flags")
def read_operation_compares(world: World) -> None:
    """Nothing where the bytes are equal; else ExtendMismatch, which knows the first place that is not."""
    world.ioctx.write_full("thing", b"hello")
    with world.rados.ReadOpCtx() as operation:
        operation.cmpext(b"he", 0)
        operation.set_flags(world.rados.LIBRADOS_OP_FLAG_FADVISE_RANDOM)
        same(world.ioctx.operate_read_op(operation, "thing"), None)
    with world.rados.ReadOpCtx() as operation:
        operation.cmpext(b"heLlo", 0)
        with refused(world.rados.ExtendMismatch, 4095 + 2):
            world.ioctx.operate_read_op(operation, "thing")


@expect("rados.Ioctx.remove_omap_range2")
def omap_range(world: World) -> None:
    """Keys from the first on, and before the last."""
    store(world, "thing", {"a": b"1", "b": b"2", "c": b"3", "d": b"4"})
    with world.rados.WriteOpCtx() as operation:
        world.ioctx.remove_omap_range2(operation, "b", "d")
        world.ioctx.operate_write_op(operation, "thing")
    same([key for key, _ in keys_of(world, "thing")], ["a", "d"])
