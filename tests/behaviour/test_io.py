"""Reading and writing one image."""

from __future__ import annotations

import random
import time

import pytest

from cowshed.errors import Closed, InvalidArgument, NotFound, ReadOnly, StaleHandle
from cowshed.store import Extent, Store

BLOCK = 4096
SIZE = 64 * BLOCK


@pytest.fixture(autouse=True)
def image_a(store: Store) -> None:
    store.create("a", SIZE)


def test_a_new_image_is_zeros(store: Store) -> None:
    with store.open("a") as image:
        assert image.read(0, SIZE) == bytes(SIZE)
        assert list(image.diff()) == []


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (1, 4095), (4095, 2), (0, 4096), (4096, 8192), (100, 20000), (SIZE - 1, 1)]
)
def test_any_alignment(store: Store, offset: int, length: int) -> None:
    data = random.Random(offset).randbytes(length)
    with store.open("a") as image:
        image.write(offset, data)
        assert image.read(offset, length) == data
        assert image.read(0, SIZE) == bytes(offset) + data + bytes(SIZE - offset - length)
        buffer = bytearray(b"\xff" * length)
        image.read_into(offset, memoryview(buffer))
        assert buffer == data


def test_nothing_is_a_length_too(store: Store) -> None:
    with store.open("a") as image:
        image.write(SIZE, b"")
        image.discard(SIZE, 0)
        assert image.read(SIZE, 0) == b""
        assert list(image.diff(offset=SIZE)) == []


@pytest.mark.parametrize("seed", range(3))
def test_writes_in_bulk_are_as_any_others(store: Store, seed: int) -> None:
    """Large ones, which are not kept in memory, beside small ones and those of others; across a snapshot."""
    rng = random.Random(seed)
    size = 4 << 20
    store.create("bulk", size)
    wanted = bytearray(size)
    with store.open("bulk", cached=False) as image, store.open("bulk") as other:
        for turn in range(60):
            length = rng.choice((1, 5000, 60_000, 64 << 10, 100_000, 1 << 20, 2 << 20))
            offset = rng.randrange(size - length + 1) // rng.choice((1, BLOCK)) * BLOCK
            offset = min(offset, size - length)
            data = rng.randbytes(length)
            (other if turn % 4 == 3 else image).write(offset, data)
            wanted[offset : offset + length] = data
            if turn == 30:
                store.create_snapshot("bulk@s")
                frozen = bytes(wanted)
            assert (image if turn % 2 else other).read(offset, length) == data
        image.flush()
        assert other.read(0, size) == wanted
    with store.open("bulk@s") as snapshot:
        assert snapshot.read(0, size) == frozen
    with store.open("bulk") as image:
        assert image.read(0, size) == wanted


@pytest.mark.parametrize(("offset", "length"), [(SIZE, 1), (SIZE - 1, 2), (1 << 60, 1)])
def test_ranges_beyond_the_end(store: Store, offset: int, length: int) -> None:
    with store.open("a") as image:
        for call in (
            lambda: image.read(offset, length),
            lambda: image.read_into(offset, bytearray(length)),
            lambda: image.write(offset, bytes(length)),
            lambda: image.discard(offset, length),
            lambda: image.write_zeroes(offset, length),
            lambda: image.diff(offset=offset, length=length),
        ):
            with pytest.raises(InvalidArgument):
                call()
        assert list(image.diff()) == []


def test_discard_and_zeros_take_no_space(store: Store) -> None:
    with store.open("a") as image:
        image.write(0, b"x" * (8 * BLOCK))
        image.discard(BLOCK, BLOCK)
        image.write_zeroes(2 * BLOCK, BLOCK)
        image.write(3 * BLOCK, bytes(BLOCK))
        image.discard(4 * BLOCK + 10, 20)
        assert image.read(4 * BLOCK, 40) == b"x" * 10 + bytes(20) + b"x" * 10
        assert image.read(BLOCK, 3 * BLOCK) == bytes(3 * BLOCK)
        assert list(image.diff()) == [Extent(0, BLOCK, True), Extent(4 * BLOCK, 4 * BLOCK, True)]
    assert store.usage("a").referenced == 5 * BLOCK


def test_writing_zeros_where_nothing_is_takes_nothing(store: Store) -> None:
    with store.open("a") as image:
        image.write(0, bytes(SIZE))
        image.write(10, bytes(100))
    assert store.usage("a").referenced == 0


def test_read_only(store: Store) -> None:
    store.create_snapshot("a@1")
    for spec, read_only in (("a", True), ("a@1", True), ("a@1", False)):
        with store.open(spec, read_only=read_only) as image:
            assert image.read_only
            with pytest.raises(ReadOnly):
                image.write(0, b"x")
            with pytest.raises(ReadOnly):
                image.discard(0, 1)
            with pytest.raises(ReadOnly):
                image.write_zeroes(0, 1)
            assert image.read(0, 1) == b"\0"
            image.flush()


def test_a_closed_image_says_so(store: Store) -> None:
    image = store.open("a")
    image.close()
    image.close()
    for call in (lambda: image.read(0, 1), lambda: image.write(0, b"x"), lambda: image.size, image.flush):
        with pytest.raises(Closed):
            call()


def test_a_removed_image_says_so(store: Store) -> None:
    with store.open("a") as image:
        image.write(0, b"x")
        store.remove("a")
        with pytest.raises(StaleHandle):
            image.read(0, 1)
        with pytest.raises(StaleHandle):
            image.write(0, b"y")
    store.create("a", SIZE)
    with store.open("a") as image:
        assert image.read(0, 1) == b"\0"


def test_two_handles_see_the_same(store: Store) -> None:
    with store.open("a") as one, store.open("a") as two:
        one.write(0, b"hello")
        assert two.read(0, 5) == b"hello"


def test_times(store: Store) -> None:
    created = store.stat("a").created
    with store.open("a", read_only=True) as image:
        image.read(0, 1)
    assert store.stat("a").accessed == created
    with store.open("a") as image:
        image.read(0, 1)
    assert store.stat("a").modified == created
    while time.time() < created + 0.002:
        pass  # the clock of the records ticks in milliseconds
    with store.open("a") as image:
        image.write(0, b"x")
    stat = store.stat("a")
    assert created < stat.modified == stat.accessed


def test_diff_of_ranges(store: Store) -> None:
    with store.open("a") as image:
        image.write(0, b"x" * (4 * BLOCK))
        assert list(image.diff(offset=BLOCK + 5, length=BLOCK)) == [Extent(BLOCK + 5, BLOCK, True)]
        assert list(image.diff(offset=10 * BLOCK)) == []
        with pytest.raises(NotFound):
            image.diff("nothing")


@pytest.mark.parametrize("phase", range(3))
def test_diff_is_merged_wherever_an_engine_cuts_it(store: Store, phase: int) -> None:
    """Runs of two blocks, one between: any border at a power of two cuts a run in some phase."""
    runs = [phase + 3 * i for i in range(5000)]
    store.create("large", 3 * 5001 * BLOCK)
    with store.open("large") as image:
        for block in runs:
            image.write(block * BLOCK, b"x" * (2 * BLOCK))
        assert list(image.diff()) == [Extent(block * BLOCK, 2 * BLOCK, True) for block in runs]


def test_diff_is_merged_over_many_pieces(store: Store) -> None:
    blocks = 10000
    store.create("large", blocks * 2 * BLOCK)
    with store.open("large") as image:
        for block in range(blocks):
            image.write(block * 2 * BLOCK, b"x")
        assert list(image.diff()) == [Extent(block * 2 * BLOCK, BLOCK, True) for block in range(blocks)]
        image.write(0, b"x" * (blocks * 2 * BLOCK))
        assert list(image.diff()) == [Extent(0, blocks * 2 * BLOCK, True)]
