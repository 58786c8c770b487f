"""Calls that answer later."""

from __future__ import annotations

import threading
from typing import Any

from .expecting import expect, refused, same
from .world import MiB, World


class Heard:
    """An oncomplete that remembers what it was given."""

    def __init__(self) -> None:
        self.called = threading.Event()
        self.given: tuple[Any, ...] = ()

    def __call__(self, *given: Any) -> None:
        self.given = given
        self.called.set()

    def wait(self) -> tuple[Any, ...]:
        if not self.called.wait(30):
            raise AssertionError("oncomplete was not called within 30 s")
        return self.given


@expect(
    "rbd.Completion",
    "rbd.Image.aio_write",
    "rbd.Image.aio_read",
    "rbd.Completion.wait_for_complete_and_cb",
    "rbd.Completion.is_complete",
    "rbd.Completion.get_return_value",
)
def aio_write_and_read(world: World) -> None:
    """oncomplete is called with the completion, and for a read with the data; the completion then is
    complete.
    """
    image = world.fresh()
    heard = Heard()
    completion = image.aio_write(b"hello", 0, heard)
    completion.wait_for_complete_and_cb()
    same(heard.wait()[0] is completion, True)
    same((completion.is_complete(), completion.get_return_value()), (True, 0))
    heard = Heard()
    completion = image.aio_read(0, 5, heard)
    completion.wait_for_complete_and_cb()
    same(heard.wait()[1], b"hello")
    same(completion.get_return_value(), 5)


@expect("rbd.Image.aio_flush", "rbd.Image.aio_discard", "rbd.Image.aio_write_zeroes")
def aio_others(world: World) -> None:
    """As the calls that wait."""
    image = world.fresh()
    image.write(b"x" * 2 * MiB, 0)
    for call, given in (
        (image.aio_discard, (MiB, MiB)),
        (image.aio_write_zeroes, (0, 4096)),
        (image.aio_flush, ()),
    ):
        heard = Heard()
        completion = call(*given, heard)
        completion.wait_for_complete_and_cb()
        heard.wait()
        same(completion.get_return_value(), 0)
    same(image.read(4095, 2), b"\0x")
    same(image.read(MiB - 1, 2), b"x\0")


@expect("rbd.Image.aio_read")
def aio_read_refused(world: World) -> None:
    """What is refused is a negative return value, and no data."""
    image = world.fresh(size=MiB)
    heard = Heard()
    completion = image.aio_read(MiB + 1, 5, heard)
    completion.wait_for_complete_and_cb()
    same(heard.wait()[1], None)
    same(completion.get_return_value(), -22)


@expect("rbd.RBD.aio_open_image")
def aio_open_image(world: World) -> None:
    """oncomplete gets the completion and the image; for one that is not there the return value is
    negative.
    """
    world.create()
    heard = Heard()
    completion = world.api.aio_open_image(heard, world.ioctx, "disk")
    completion.wait_for_complete_and_cb()
    image = world.keep(heard.wait()[1])
    same(image.size(), 8 * MiB)
    heard = Heard()
    completion = world.api.aio_open_image(heard, world.ioctx, "none")
    completion.wait_for_complete_and_cb()
    heard.wait()
    same(completion.get_return_value(), -2)


@expect("rbd.Image.aio_close")
def aio_close(world: World) -> None:
    """Closed when it is complete."""
    image = world.fresh()
    heard = Heard()
    image.aio_close(heard).wait_for_complete_and_cb()
    heard.wait()
    with refused(world.rbd.InvalidArgument):
        image.size()
