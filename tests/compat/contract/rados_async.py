"""Class Ioctx: calls that do not wait, and class Completion."""

from __future__ import annotations

import time
from typing import Any

from .expecting import expect, refused, same
from .world import World


def ended(completion: Any) -> int:
    """What the call answered, once it is complete."""
    completion.wait_for_complete()
    answer: int = completion.get_return_value()
    return answer


@expect("rados.Ioctx.aio_write", "rados.Ioctx.aio_append", "rados.Ioctx.aio_writesame")
def aio_writes(world: World) -> None:
    """Each answers 0 when it is complete; a length that is no multiple of the data is InvalidArgumentError
    at once.
    """
    same(ended(world.ioctx.aio_write("thing", b"hello")), 0)
    same(ended(world.ioctx.aio_append("thing", b"!!")), 0)
    same(ended(world.ioctx.aio_write("thing", b"x", 9)), 0)
    same(world.ioctx.read("thing"), b"hello!!\0\0x")
    same(ended(world.ioctx.aio_writesame("thing", b"ab", 4, 2)), 0)
    same(world.ioctx.read("thing"), b"heabab!\0\0x")
    with refused(world.rados.InvalidArgumentError, 22):
        world.ioctx.aio_writesame("thing", b"ab", 5, 2)


@expect("rados.Ioctx.aio_cmpext")
def aio_compare(world: World) -> None:
    """0 where the bytes are equal; else minus 4095 and the first other place; -ENOENT without object."""
    world.ioctx.write_full("thing", b"hello")
    same(ended(world.ioctx.aio_cmpext("thing", b"he", 0)), 0)
    same(ended(world.ioctx.aio_cmpext("thing", b"heLlo", 0)), -(4095 + 2))
    same(ended(world.ioctx.aio_cmpext("none", b"he", 0)), -2)


@expect("rados.Ioctx.aio_setxattr", "rados.Ioctx.aio_rmxattr")
def aio_xattrs(world: World) -> None:
    """0, for one that is gone already, too; -ENOENT without object."""
    world.ioctx.write_full("thing", b"x")
    same(ended(world.ioctx.aio_setxattr("thing", "a", b"one")), 0)
    same(world.ioctx.get_xattr("thing", "a"), b"one")
    same(ended(world.ioctx.aio_rmxattr("thing", "a")), 0)
    same(ended(world.ioctx.aio_rmxattr("thing", "a")), 0)
    same(list(world.ioctx.get_xattrs("thing")), [])
    same(ended(world.ioctx.aio_rmxattr("none", "a")), -2)


@expect("rados.Ioctx.aio_stat")
def aio_stat(world: World) -> None:
    """oncomplete gets size and struct_time; None twice, and -ENOENT, without object."""
    heard: list[Any] = []
    world.ioctx.write_full("thing", b"hello")
    for name, status in (("thing", 0), ("none", -2)):
        completion = world.ioctx.aio_stat(name, lambda done, size, when: heard.append((size, when)))
        completion.wait_for_complete_and_cb()
        same(completion.get_return_value(), status)
    same([size for size, _ in heard], [5, None])
    same([type(when) for _, when in heard], [time.struct_time, type(None)])


@expect(
    "rados.Completion",
    "rados.Completion.is_complete",
    "rados.Completion.is_safe",
    "rados.Completion.wait_for_complete",
    "rados.Completion.wait_for_safe",
    "rados.Completion.wait_for_safe_and_cb",
)
def completions_of_objects(world: World) -> None:
    """oncomplete and onsafe are both called, with the completion; afterwards it is complete, and safe."""
    heard: list[tuple[str, Any]] = []
    completion = world.ioctx.aio_write(
        "thing",
        b"hello",
        0,
        lambda done: heard.append(("complete", done)),
        lambda done: heard.append(("safe", done)),
    )
    same(type(completion), world.rados.Completion)
    completion.wait_for_complete()
    completion.wait_for_safe()
    same((completion.is_complete(), completion.is_safe()), (True, True))
    completion.wait_for_safe_and_cb()
    world.soon(lambda: len(heard) == 2)
    same(sorted(word for word, _ in heard), ["complete", "safe"])
    assert all(done is completion for _, done in heard)
    same(completion.get_return_value(), 0)


@expect("rados.Ioctx.operate_aio_write_op", "rados.Ioctx.operate_aio_read_op")
def aio_operations(world: World) -> None:
    """As the calls that wait; the iterator has its pairs when the read is complete."""
    with world.rados.WriteOpCtx() as operation:
        operation.write_full(b"hello")
        world.ioctx.set_omap(operation, ("a", "b"), (b"one", b"two"))
        same(ended(world.ioctx.operate_aio_write_op(operation, "thing")), 0)
    same(world.ioctx.read("thing"), b"hello")
    with world.rados.ReadOpCtx() as operation:
        found, _ = world.ioctx.get_omap_vals(operation, "", "", 10)
        same(ended(world.ioctx.operate_aio_read_op(operation, "thing")), 0)
        same(list(found), [("a", b"one"), ("b", b"two")])
