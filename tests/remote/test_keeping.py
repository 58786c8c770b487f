"""Images that are open and not used: connected in time, and only then."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable

import pytest

from cowshed.errors import IOFailure
from cowshed.remote import RemoteStore
from cowshed.remote.image import RemoteImage
from cowshed.remote.keeping import Keeper
from remote.daemon import ServedStore
from serve.daemons import until

MIB = 1 << 20


class Kept:
    """One that says how often it was kept."""

    def __init__(self) -> None:
        self.times = 0
        self.was_kept = threading.Event()

    def keep(self) -> None:
        self.times += 1
        self.was_kept.set()


def ends(keeper: Keeper) -> None:
    until(lambda: not keeper._runs, "the end of the thread")


def test_what_stays_is_kept_once_and_in_its_order() -> None:
    keeper, images = Keeper(0.0), [Kept() for _ in range(20)]
    for image in images:
        keeper.add(image)
    for image in images:
        assert image.was_kept.wait(30)
    ends(keeper)
    assert [image.times for image in images] == [1] * 20
    keeper.add(images[0])  # the thread begins again
    ends(keeper)
    assert images[0].times == 2


def test_what_went_before_is_let_be() -> None:
    keeper, gone, lost, stays = Keeper(0.0), Kept(), Kept(), Kept()
    with keeper._state:  # the thread waits until all of this was done
        for image in (gone, lost, stays):
            keeper.add(image)
        was_lost = lost.was_kept
        keeper.remove(gone)
        keeper.remove(gone)
        del lost, image
        gc.collect()
    assert stays.was_kept.wait(30)
    ends(keeper)
    assert gone.times == 0
    assert not was_lost.is_set()


def test_a_fork_keeps_nothing_and_can_keep_its_own() -> None:
    keeper, parents = Keeper(3600.0), Kept()
    keeper.add(parents)
    keeper.forget_all()
    keeper._seconds = 0.0
    own = Kept()
    keeper.add(own)
    assert own.was_kept.wait(30)
    ends(keeper)
    assert parents.times == 0


def test_an_image_connects_when_it_is_used(daemon: ServedStore, store: RemoteStore) -> None:
    store.create("a", MIB)
    uses: list[Callable[..., object]] = [
        lambda image: image.read(0, 1),
        lambda image: image.read_into(0, bytearray(1)),
        lambda image: image.write(0, b"x"),
        lambda image: image.discard(0, 4096),
        lambda image: image.write_zeroes(0, 4096),
        RemoteImage.keep,
    ]
    for use in uses:
        with store.open("a") as image:
            image.flush()
            assert (image.size, image.is_lock_owner, [*image.diff()][1:]) == (MIB, False, [])
            assert daemon.nbd.connections() == []
            use(image)
            assert len(daemon.nbd.connections()) == 1
            use(image)
            assert len(daemon.nbd.connections()) == 1
        until(lambda: daemon.nbd.connections() == [], "the end of the connection")
    assert isinstance(image, RemoteImage)
    image.keep()
    assert daemon.nbd.connections() == []


def test_threads_that_use_it_first_at_once_share_a_connection(
    daemon: ServedStore, store: RemoteStore
) -> None:
    store.create("a", MIB)
    with store.open("a") as image:
        start = threading.Barrier(8)

        def use() -> None:
            start.wait(30)
            image.read(0, 1)

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: len(daemon.nbd.connections()) == 1, "the end of those that came second")
        assert image.read(0, 1) == b"\0"
        assert len(daemon.nbd.connections()) == 1


def test_a_handle_that_has_ended_before_the_first_use(daemon: ServedStore, store: RemoteStore) -> None:
    """As after a long sleep of the whole process: it is told, and nothing else is used instead."""
    store.create("a", MIB)
    with store.open("a") as image:
        daemon.services.handles.close()
        with pytest.raises(IOFailure, match="the connection to 'rbd/a' is lost") as raised:
            image.read(0, 1)
        assert raised.value.hint == "open it again"


def test_who_is_open_and_idle_is_a_watcher(daemon: ServedStore, store: RemoteStore) -> None:
    store.create("a", MIB)
    with store.open("a"):
        (watcher,) = store.watchers("a")
        assert watcher.client == store.client
        assert watcher.address.endswith(f"/{os.getpid()}")
    assert store.watchers("a") == []
