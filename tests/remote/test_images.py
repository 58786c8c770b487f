"""Open images of a served store: many threads, other clients, sizes that change."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from itertools import pairwise

import pytest

import cowshed
from cowshed.errors import Busy, Closed, InvalidArgument, ReadOnly
from cowshed.remote import RemoteStore
from cowshed.store import Image
from remote.daemon import ServedStore

MIB = 1 << 20


def together(jobs: list[Callable[[], None]]) -> None:
    """Run all at once; raises the first of what they raised."""
    raised: list[BaseException] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


@pytest.mark.parametrize("seed", range(3))
def test_many_threads_use_one_image(daemon: ServedStore, store: RemoteStore, seed: int) -> None:
    """Each has a part of its own, beside an array of bytes; at the end the whole is compared."""
    threads, part = 6, MIB // 4
    wanted = bytearray(threads * part)
    store.create("a", len(wanted))

    def work(number: int, image: Image) -> None:
        rng = random.Random(seed * 100 + number)
        start = number * part
        mine = memoryview(wanted)[start : start + part]
        for _ in range(60):
            at = rng.randrange(part)
            length = rng.randint(0, min(part - at, rng.choice((100, 5000, 100_000))))
            match rng.randrange(5):
                case 0 | 1:
                    data = rng.randbytes(length)
                    image.write(start + at, data)
                    mine[at : at + length] = data
                case 2:
                    rng.choice((image.discard, image.write_zeroes))(start + at, length)
                    mine[at : at + length] = bytes(length)
                case 3:
                    assert image.read(start + at, length) == mine[at : at + length]
                case 4:
                    buffer = bytearray(length)
                    image.read_into(start + at, buffer)
                    assert buffer == mine[at : at + length]
                    image.flush()

    with store.open("a") as image:
        together([lambda n=n: work(n, image) for n in range(threads)])  # type: ignore[misc]
        assert image.read(0, len(wanted)) == wanted
    with daemon.store.open("a") as same:
        assert same.read(0, len(wanted)) == wanted


def test_many_threads_open_and_close(daemon: ServedStore, store: RemoteStore) -> None:
    store.create("a", MIB)

    def work(number: int) -> None:
        for i in range(10):
            with store.open("a") as image:
                image.write(number * 4096, bytes([number, i]))
                assert image.read(number * 4096, 2) == bytes([number, i])

    together([lambda n=n: work(n) for n in range(6)])  # type: ignore[misc]
    assert store.watchers("a") == []
    assert daemon.services.handles.all() == []


def test_another_makes_it_larger_and_smaller(daemon: ServedStore, store: RemoteStore) -> None:
    store.create("a", MIB)
    with store.open("a") as image, cowshed.open(daemon.path) as other:
        image.write(MIB - 1, b"x")
        other.resize("a", 3 * MIB)
        assert image.size == 3 * MIB
        image.write(2 * MIB, b"y")
        assert image.read(2 * MIB - 1, 2) == b"\0y"
        assert image.read(MIB - 1, 1) == b"x"
        other.resize("a", MIB // 2, allow_shrink=True)
        assert image.size == MIB // 2
        for call in (
            lambda: image.read(MIB // 2, 1),
            lambda: image.write(MIB - 1, b"z"),
            lambda: image.discard(2 * MIB, 1),
        ):
            with pytest.raises(InvalidArgument):
                call()
        assert image.read(MIB // 2 - 1, 1) == b"\0"
        other.resize("a", MIB)
        assert image.read(MIB - 1, 1) == b"\0"


def test_it_grows_under_the_hands_of_many(daemon: ServedStore, store: RemoteStore) -> None:
    """Who reaches beyond the old end gets a connection that knows the new one; no one is cut off."""
    store.create("a", 4096)

    def work(number: int, image: Image) -> None:
        for i in range(40):
            size = image.size
            at = size - 1 - number
            image.write(at, bytes([i]))
            assert len(image.read(0, size)) == size

    def grow() -> None:
        for i in range(2, 30):
            daemon.store.resize("a", i * 4096)

    with store.open("a") as image:
        together([grow, *(lambda n=n: work(n, image) for n in range(4))])
        assert image.size == 29 * 4096
    assert daemon.services.handles.all() == []


def test_the_exclusive_lock_is_among_clients(daemon: ServedStore, store: RemoteStore) -> None:
    store.create("a", MIB)
    with cowshed.open(daemon.path) as other:
        assert other.client != store.client
        with store.open("a") as mine, other.open("a") as theirs:
            assert {watcher.client for watcher in store.watchers("a")} == {store.client, other.client}
            mine.lock_acquire()
            with pytest.raises(Busy):
                theirs.lock_acquire()
            with pytest.raises(ReadOnly, match="another who has it open holds the exclusive lock") as raised:
                theirs.write(0, b"x")
            assert raised.value.hint == "wait until it is let go"
            with pytest.raises(ReadOnly, match="exclusive lock"):
                theirs.discard(0, 1)
            with pytest.raises(ReadOnly, match="exclusive lock"):
                theirs.write_zeroes(0, 1)
            owner = theirs.lock_owner()
            assert owner is not None
            assert owner.client == store.client
            assert (mine.is_lock_owner, theirs.is_lock_owner) == (True, False)
            mine.write(0, b"m")
            assert theirs.read(0, 1) == b"m"
            mine.close()
            theirs.lock_acquire()
            theirs.write(0, b"t")


def test_closing_the_store_closes_its_images(daemon: ServedStore) -> None:
    store = cowshed.open(daemon.path)
    store.create("a", MIB)
    image = store.open("a")
    image.write(0, b"kept")
    store.close()
    for call in (
        lambda: image.read(0, 1),
        lambda: image.size,
        lambda: image.flush(),
        lambda: image.lock_acquire(),
        lambda: image.diff(),
    ):
        with pytest.raises(Closed):
            call()
    image.close()
    assert daemon.services.handles.all() == []
    with daemon.store.open("a") as same:
        assert same.read(0, 4) == b"kept"


def test_an_image_that_is_forgotten_is_let_go(daemon: ServedStore, store: RemoteStore) -> None:
    store.create("a", MIB)
    image = store.open("a")
    image.write(0, b"x")
    del image
    deadline = threading.Event()
    for _ in range(600):
        if not store.watchers("a"):
            break
        deadline.wait(0.02)
    assert store.watchers("a") == []


def test_large_pieces(store: RemoteStore) -> None:
    data = random.Random(4).randbytes(9 * MIB + 123)
    store.create("a", 64 * MIB)
    with store.open("a") as image:
        image.write(77, data)
        assert image.read(77, len(data)) == data
        view = memoryview(data)
        image.write(32 * MIB, view[5:])
        into = bytearray(len(data))
        image.read_into(32 * MIB, memoryview(into)[5:])
        assert into[5:] == data[5:]


def test_a_diff_is_merged_where_its_pieces_meet(store: RemoteStore) -> None:
    """Also where they only meet since another wrote between them while the diff was read."""
    block = 4096
    store.create("a", 10_000 * block)
    with store.open("a") as image:
        for number in range(0, 10_000, 2):
            image.write(number * block, b"x")
        extents = image.diff()
        seen = [next(extents)]
        for number in range(1, 10_000, 2):
            image.write(number * block, b"x")
        seen += extents
    assert len(seen) > 4000
    assert all(one.end < two.offset for one, two in pairwise(seen))
    assert seen[-1].end == 10_000 * block


def test_an_opening_knows_the_images_id(store: RemoteStore) -> None:
    store.create("a", MIB)
    store.create_snapshot("a@s")
    store.rename("a", "b")
    store.create("a", MIB)
    known = store.stat("b").id
    with store.open("b") as image, store.open("b@s") as frozen, store.open("a") as other:
        assert image.image_id == frozen.image_id == known != other.image_id
