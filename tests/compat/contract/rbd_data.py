"""Class Image: reading, writing, discarding, differences."""

from __future__ import annotations

import random
from typing import Any

from .expecting import expect, refused, same
from .world import MiB, World

KiB = 1024


@expect("rbd.Image.read", "rbd.Image.write")
def write_and_read(world: World) -> None:
    """write gives the number of bytes, read the bytes; unwritten ones are zero."""
    image = world.fresh()
    same(image.write(b"hello", MiB - 2), 5)
    same(image.read(MiB - 3, 7), b"\0hello\0")
    same(image.read(0, 0), b"")


@expect("rbd.Image.read")
def read_at_the_end(world: World) -> None:
    """Reading over the end gives what there is; an offset at the end or beyond it is InvalidArgument."""
    image = world.fresh(size=MiB)
    image.write(b"end", MiB - 3)
    same(image.read(MiB - 3, 10), b"end")
    for offset in (MiB, MiB + 1):
        with refused(world.rbd.InvalidArgument, 22):
            image.read(offset, 10)


@expect("rbd.Image.write")
def write_over_the_end(world: World) -> None:
    """Writing over the end writes what fits, and is an IncompleteWriteError; beyond it, InvalidArgument."""
    image = world.fresh(size=MiB)
    with refused(world.rbd.IncompleteWriteError):
        image.write(b"four", MiB - 2)
    same(image.read(MiB - 2, 2), b"fo")
    with refused(world.rbd.InvalidArgument, 22):
        image.write(b"four", MiB + 1)


@expect("rbd.Image.write")
def write_read_only(world: World) -> None:
    """ReadOnlyImage, EROFS: opened read-only, or at a snapshot."""
    image = world.fresh()
    image.create_snap("snap")
    with refused(world.rbd.ReadOnlyImage, 30):
        world.open(read_only=True).write(b"x", 0)
    with refused(world.rbd.ReadOnlyImage, 30):
        world.open(snapshot="snap").write(b"x", 0)


@expect("rbd.Image.write")
def write_needs_bytes(world: World) -> None:
    """Text is a TypeError."""
    with refused(TypeError):
        world.fresh().write("text", 0)


@expect("rbd.Image.read", "rbd.Image.write")
def fadvise_flags(world: World) -> None:
    """read and write take a third argument, fadvise_flags."""
    image = world.fresh()
    same(image.write(b"abc", 0, world.rados.LIBRADOS_OP_FLAG_FADVISE_DONTNEED), 3)
    same(image.read(0, 3, world.rados.LIBRADOS_OP_FLAG_FADVISE_RANDOM), b"abc")


@expect("rbd.Image.discard")
def discard(world: World) -> None:
    """Whole objects that are discarded read as zeros; it answers None."""
    image = world.fresh()
    image.write(b"x" * 3 * MiB, 0)
    same(image.discard(MiB, MiB), None)
    same(image.read(MiB - 1, MiB + 2), b"x" + bytes(MiB) + b"x")


@expect("rbd.Image.discard")
def discard_beyond_the_end(world: World) -> None:
    """InvalidArgument for a region that begins at the end or beyond; one that ends beyond is cut, unless it
    has 2 GiB or more, which is InvalidArgument.
    """
    image = world.fresh()
    image.write(b"x" * MiB, 7 * MiB)
    for offset, length in ((0, 1 << 40), (0, 1 << 31), (8 * MiB, 1), (1 << 40, 1)):
        with refused(world.rbd.InvalidArgument, 22):
            image.discard(offset, length)
    same(image.discard(1 << 40, 0), None)
    same(image.discard(7 * MiB, (1 << 31) - 1), None)
    same(image.read(7 * MiB, MiB), bytes(MiB))


@expect("rbd.Image.read")
def read_with_wrong_arguments(world: World) -> None:
    """A negative number is an OverflowError, text a TypeError."""
    image = world.fresh()
    for given in ((-1, 1), (0, -1)):
        with refused(OverflowError):
            image.read(*given)
    with refused(TypeError):
        image.read("0", 1)


@expect("rbd.Image.write_zeroes")
def write_zeroes(world: World) -> None:
    """Zeros, to the byte."""
    image = world.fresh()
    image.write(b"x" * MiB, 0)
    same(image.write_zeroes(100, 1000), None)
    same(image.read(99, 1002), b"x" + bytes(1000) + b"x")
    image.write_zeroes(0, 4096, world.rbd.RBD_WRITE_ZEROES_FLAG_THICK_PROVISION)
    same(image.read(0, 4097), bytes(4096) + b"x")


@expect("rbd.Image.flush", "rbd.Image.invalidate_cache")
def flush(world: World) -> None:
    """Both answer None, and the data stays."""
    image = world.fresh()
    image.write(b"abc", 0)
    same(image.flush(), None)
    same(image.invalidate_cache(), None)
    same(image.read(0, 3), b"abc")


@expect("rbd.Image.read", "rbd.Image.write")
def two_that_have_it_open(world: World) -> None:
    """What one has written and flushed, another who opens it reads."""
    one = world.fresh()
    one.write(b"one", 0)
    one.flush()
    same(world.open(read_only=True).read(0, 3), b"one")


def extents(
    image: Any, offset: int, length: int, start: str | None, **how: object
) -> list[tuple[int, int, bool]]:
    found: list[tuple[int, int, bool]] = []
    image.diff_iterate(
        offset, length, start, lambda at, size, exists: found.append((at, size, exists)), **how
    )
    return found


def model_of(found: list[tuple[int, int, bool]], old: bytes, new: bytes) -> bytes:
    """The old content with the extents applied: those that exist from the new one, the others as zeros."""
    content = bytearray(old)
    for at, size, exists in found:
        content[at : at + size] = new[at : at + size] if exists else bytes(size)
    return bytes(content)


@expect("rbd.Image.diff_iterate")
def diff_from_the_beginning(world: World) -> None:
    """Without a start: extents (offset, length, True) that hold all that is not zero; nothing of an empty
    image.
    """
    image = world.fresh(features=61)
    same(extents(image, 0, 8 * MiB, None), [])
    image.write(b"x" * 4096, MiB)
    image.write(b"y" * MiB, 5 * MiB)
    found = extents(image, 0, 8 * MiB, None)
    for at, size, exists in found:
        same((type(at), type(size), type(exists)), (int, int, bool))
        assert exists
        assert 0 <= at < at + size <= 8 * MiB
    same(model_of(found, bytes(8 * MiB), image.read(0, 8 * MiB)), image.read(0, 8 * MiB))


@expect("rbd.Image.diff_iterate")
def diff_between_snapshots(world: World) -> None:
    """Random writes and discards between two snapshots: the extents make the later state of the earlier
    one.
    """
    dice = random.Random(11)
    image = world.fresh(features=61)
    states = []
    for number in range(4):
        for _ in range(6):
            at = dice.randrange(0, 2000) * 4 * KiB
            size = min(dice.choice([4, 16, 600, 1024]) * KiB, 8 * MiB - at)
            if dice.random() < 0.7:
                image.write(dice.randbytes(size), at)
            else:
                image.discard(at, size)
        image.create_snap(f"snap{number}")
        states.append(image.read(0, 8 * MiB))
    for first in range(4):
        for last in range(first, 4):
            later = world.open(snapshot=f"snap{last}")
            for whole in (False, True):
                found = extents(later, 0, 8 * MiB, f"snap{first}", whole_object=whole)
                same(model_of(found, states[first], states[last]) == states[last], True, f"{first} to {last}")
            later.close()
    same(extents(image, 0, 8 * MiB, "snap3"), [])


@expect("rbd.Image.diff_iterate")
def diff_of_a_part(world: World) -> None:
    """Only extents of the part that was asked for."""
    image = world.fresh(features=61)
    image.write(b"x" * 8 * MiB, 0)
    found = extents(image, 2 * MiB, 3 * MiB, None)
    same((min(each[0] for each in found), max(each[0] + each[1] for each in found)), (2 * MiB, 5 * MiB))


@expect("rbd.Image.diff_iterate")
def diff_that_discards(world: World) -> None:
    """What was there and is discarded is told with exists False."""
    image = world.fresh(features=61)
    image.write(b"x" * 2 * MiB, 0)
    image.create_snap("snap")
    image.discard(MiB, MiB)
    same(extents(image, 0, 8 * MiB, "snap"), [(MiB, MiB, False)])


@expect("rbd.Image.diff_iterate")
def diff_refuses(world: World) -> None:
    """A snapshot that is not there is ImageNotFound; one that is later than what is open, InvalidArgument."""
    image = world.fresh()
    image.create_snap("one")
    image.create_snap("two")
    with refused(world.rbd.ImageNotFound, 2):
        extents(image, 0, MiB, "none")
    with refused(world.rbd.InvalidArgument, 22):
        extents(world.open(snapshot="one"), 0, MiB, "two")


@expect("rbd.Image.diff_iterate")
def diff_and_the_parent(world: World) -> None:
    """A clone's diff from the beginning holds what the parent has, and without include_parent only its
    own.
    """
    world.parent()
    clone = world.clone()
    clone.write(b"c" * 4096, 4 * MiB)
    whole = extents(clone, 0, 8 * MiB, None)
    same(model_of(whole, bytes(8 * MiB), clone.read(0, 8 * MiB)), clone.read(0, 8 * MiB))
    own = extents(clone, 0, 8 * MiB, None, include_parent=False)
    assert all(at >= 4 * MiB for at, _, _ in own), own
    assert own


@expect("rbd.Image.diff_iterate")
def diff_whose_callback_fails(world: World) -> None:
    """An exception of the callback comes out of diff_iterate."""
    image = world.fresh()
    image.write(b"x" * 4096, 0)

    def fail(at: int, size: int, exists: bool) -> None:
        raise KeyError("mine")

    with refused(KeyError):
        image.diff_iterate(0, 8 * MiB, None, fail)


@expect("rbd.Image.diff_iterate")
def diff_of_whole_objects(world: World) -> None:
    """whole_object: objects in which anything changed, as far as they lie in the range that was asked for;
    exists is False only for an object that has no data at all.
    """
    image = world.fresh(features=61)
    image.write(b"x" * 4096, 0)
    image.write(b"x" * 2 * MiB, 2 * MiB)
    image.create_snap("snap")
    image.write(b"y" * 4096, 512 * KiB)
    image.discard(2 * MiB, MiB)
    image.discard(3 * MiB, 512 * KiB)
    whole = extents(image, 0, 8 * MiB, "snap", whole_object=True)
    same([each for each in whole if each[0] != 3 * MiB], [(0, MiB, True), (2 * MiB, MiB, False)])
    same([each for each in whole if each[0] == 3 * MiB], [(3 * MiB, MiB, True)])
    part = extents(image, 4096, 2 * MiB, "snap", whole_object=True)
    same(part, [(4096, MiB - 4096, True), (2 * MiB, 4096, False)])
    every = extents(image, 0, 8 * MiB, None, whole_object=True)
    same(every, [(0, MiB, True), (3 * MiB, MiB, True)])


@expect("rbd.Image.diff_iterate")
def diff_of_a_clones_own(world: World) -> None:
    """Nothing, before anything is written; then the objects that are its own, with whole_object, as they are
    between its snapshots, too; data that is discarded in front of the parent's is its own.
    """
    world.parent()
    clone = world.clone()
    for whole in (False, True):
        same(extents(clone, 0, 8 * MiB, None, include_parent=False, whole_object=whole), [])
    clone.write(b"c" * 4096, 4096)
    clone.create_snap("one")
    clone.write(b"c" * 4096, 5 * MiB)
    own = [(0, MiB, True), (5 * MiB, MiB, True)]
    same(extents(clone, 0, 8 * MiB, None, include_parent=False, whole_object=True), own)
    for include in (True, False):
        found = extents(clone, 0, 8 * MiB, "one", include_parent=include, whole_object=True)
        same(found, [(5 * MiB, MiB, True)])
    clone.discard(0, MiB)
    same(extents(clone, 0, 8 * MiB, None, include_parent=False, whole_object=True), own)
