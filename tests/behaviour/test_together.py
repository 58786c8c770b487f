"""Several threads on one store."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from cowshed.errors import AlreadyExists, NotEmpty, NotFound
from cowshed.store import Store

MIB = 1 << 20


def together(*jobs: Callable[[], None]) -> list[BaseException]:
    """Run all at once; returns what they raised."""
    raised: list[BaseException] = []
    start = threading.Barrier(len(jobs))

    def run(job: Callable[[], None]) -> None:
        start.wait()
        try:
            job()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_many_make_different_images(store: Store) -> None:
    def make(worker: int) -> None:
        for i in range(20):
            store.create(f"a{worker}-{i}", MIB)

    assert together(*(lambda w=w: make(w) for w in range(4))) == []
    assert len(list(store.images("rbd"))) == 80


def test_one_of_many_gets_the_name(store: Store) -> None:
    raised = together(*(lambda: store.create("a", MIB) for _ in range(6)))
    assert [type(error) for error in raised] == [AlreadyExists] * 5


def test_snapshots_of_one_image_from_many_sides(store: Store) -> None:
    store.create("a", MIB)

    def work(worker: int) -> None:
        for i in range(15):
            store.create_snapshot(f"a@{worker}-{i}")
            if i % 3:
                store.remove_snapshot(f"a@{worker}-{i}")

    assert together(*(lambda w=w: work(w) for w in range(4))) == []
    snapshots = store.snapshots("a")
    assert len(snapshots) == store.stat("a").snapshot_count == 20
    for worker in range(4):
        mine = [s for s in snapshots if s.name.startswith(f"{worker}-")]
        assert [s.id for s in mine] == sorted(s.id for s in mine)


def test_clones_while_the_snapshot_goes(store: Store) -> None:
    store.create("a", MIB)
    store.create_snapshot("a@1")
    made: list[int] = []

    def clone(worker: int) -> None:
        for i in range(10):
            store.clone("a@1", f"c{worker}-{i}")
            made.append(1)

    raised = together(lambda: clone(0), lambda: clone(1), lambda: store.remove_snapshot("a@1"))
    assert {type(error) for error in raised} <= {NotFound}
    assert len(list(store.images("rbd"))) == 1 + len(made)
    assert store.check() == []


def test_a_pool_goes_while_images_come(store: Store) -> None:
    for _ in range(10):
        store.create_pool("p")
        raised = together(
            lambda: store.create("p/a", MIB),
            lambda: store.remove_pool("p"),
            lambda: store.create("p/b", MIB),
        )
        assert {type(error) for error in raised} <= {NotFound, NotEmpty}
        assert store.check() == []
        if any(pool.name == "p" for pool in store.pools()):
            for name in list(store.images("p")):
                store.remove(f"p/{name}")
            store.remove_pool("p")


@pytest.mark.parametrize("rounds", [5])
def test_writing_while_snapshots_are_taken(store: Store, rounds: int) -> None:
    store.create("a", MIB)
    done = threading.Event()

    def write() -> None:
        with store.open("a") as image:
            value = 0
            while not done.is_set():
                value = value % 255 + 1
                image.write(0, bytes([value]) * 8192)

    def snap() -> None:
        try:
            for i in range(rounds):
                store.create_snapshot(f"a@{i}")
        finally:
            done.set()

    assert together(write, snap) == []
    for i in range(rounds):
        with store.open(f"a@{i}") as image:
            assert image.read(0, 100) == image.read(0, 100)
