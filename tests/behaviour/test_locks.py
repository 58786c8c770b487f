"""Advisory locks, and the exclusive lock of those that have an image open."""

from __future__ import annotations

import pytest

from behaviour.engines import Engine
from cowshed.errors import AlreadyExists, Busy, InvalidArgument, NotEmpty, NotFound, ReadOnly
from cowshed.store import Store

MIB = 1 << 20


@pytest.fixture(autouse=True)
def image_a(store: Store) -> None:
    store.create("a", MIB)


def test_an_exclusive_lock(store: Store) -> None:
    assert store.locks("a") is None
    store.lock("a", "one")
    lock = store.locks("a")
    assert lock is not None
    assert (lock.exclusive, lock.tag) == (True, "")
    (locker,) = lock.lockers
    assert (locker.client, locker.cookie) == (store.client, "one")
    assert locker.client.startswith("client.")
    with pytest.raises(AlreadyExists):
        store.lock("a", "one")
    for tag in (None, "t"):
        with pytest.raises(Busy, match=store.client):
            store.lock("a", "two", tag=tag)
    with pytest.raises(NotFound):
        store.unlock("a", "two")
    store.unlock("a", "one")
    assert store.locks("a") is None
    # It hinders no one who does not ask.
    store.lock("a", "one")
    with store.open("a") as image:
        image.write(0, b"x")


def test_a_shared_lock(store: Store) -> None:
    for cookie in ("one", "two"):
        store.lock("a", cookie, tag="t")
    lock = store.locks("a")
    assert lock is not None
    assert (lock.exclusive, lock.tag) == (False, "t")
    assert [locker.cookie for locker in lock.lockers] == ["one", "two"]
    for tag in (None, "other"):
        with pytest.raises(Busy):
            store.lock("a", "three", tag=tag)
    store.unlock("a", "one")
    store.unlock("a", "two")
    store.lock("a", "three")


def test_a_lock_outlives_its_holder_and_can_be_broken(engine: Engine, store: Store) -> None:
    store.lock("a", "one")
    client = store.client
    store.close()
    with engine.open() as again:
        assert again.client != client
        lock = again.locks("a")
        assert lock is not None
        assert lock.lockers[0].client == client
        with pytest.raises(NotFound):
            again.unlock("a", "one")
        for wrong in ((client, "two"), (again.client, "one")):
            with pytest.raises(NotFound):
                again.break_lock("a", *wrong)
        again.break_lock("a", client, "one")
        assert again.locks("a") is None
        assert again.check() == []


def test_locks_go_with_their_image(store: Store) -> None:
    store.lock("a", "one")
    store.rename("a", "b")
    assert store.locks("b") is not None
    store.remove("b")
    store.create("b", MIB)
    assert store.locks("b") is None


def test_watchers(store: Store) -> None:
    assert store.watchers("a") == []
    with store.open("a"), store.open("a", read_only=True):
        (watcher,) = store.watchers("a")
        assert watcher.client == store.client
        with store.open("a"):
            assert len({watcher.cookie for watcher in store.watchers("a")}) == 2
    assert store.watchers("a") == []


def test_the_exclusive_lock(store: Store) -> None:
    with store.open("a") as one, store.open("a") as two:
        assert one.lock_owner() is None
        one.lock_acquire()
        one.lock_acquire()
        assert (one.is_lock_owner, two.is_lock_owner) == (True, False)
        owner = two.lock_owner()
        assert owner is not None
        assert owner.client == store.client
        with pytest.raises(Busy):
            two.lock_acquire()
        one.write(0, b"x")
        with pytest.raises(ReadOnly, match="exclusive lock"):
            two.write(0, b"y")
        assert two.read(0, 1) == b"x"
        with pytest.raises(InvalidArgument):
            two.lock_release()
        one.lock_release()
        two.write(0, b"y")
        two.lock_acquire()
        with pytest.raises(NotFound):
            one.lock_break("nobody")
        broken = one.lock_owner()
        assert broken is not None
        one.lock_break(broken.cookie)
        one.write(0, b"z")
        two.lock_acquire()
    # Closing lets it go.
    with store.open("a") as three:
        three.lock_acquire()


def test_a_lock_that_goes_over_to_the_next(store: Store) -> None:
    with store.open("a") as one, store.open("a") as two:
        one.lock_acquire(automatic=True)
        two.lock_acquire(automatic=True)
        assert (one.is_lock_owner, two.is_lock_owner) == (False, True)
        with pytest.raises(InvalidArgument):
            one.lock_release()
        # Who asks for it to keep gets it, too; asking so again afterwards makes it no looser.
        one.lock_acquire()
        one.lock_acquire(automatic=True)
        for automatic in (False, True):
            with pytest.raises(Busy):
                two.lock_acquire(automatic=automatic)
        one.lock_release()
        two.lock_acquire(automatic=True)
        two.lock_acquire()
        with pytest.raises(Busy):
            one.lock_acquire(automatic=True)


def test_a_lock_that_goes_over_to_who_writes(store: Store) -> None:
    with store.open("a") as one, store.open("a") as two, store.open("a") as three:
        one.lock_acquire(automatic=True)
        for writer, other in ((two, one), (one, two), (two, one)):
            writer.write(0, b"y")
            assert (writer.is_lock_owner, other.is_lock_owner) == (True, False)
        one.discard(0, 4096)
        assert one.is_lock_owner
        two.write_zeroes(0, 4096)
        assert two.is_lock_owner
        # It is no one's to keep still.
        three.lock_acquire()
        for kept_out in (one, two):
            with pytest.raises(ReadOnly, match="exclusive lock"):
                kept_out.write(0, b"x")
        three.lock_release()
        one.lock_acquire(automatic=True)
        # Who has asked for it once, and has let it go, gets it by asking alone.
        with pytest.raises(ReadOnly, match="exclusive lock"):
            three.write(0, b"x")
        assert one.is_lock_owner
        three.lock_acquire(automatic=True)
        three.write(0, b"x")
        two.lock_acquire()
        with pytest.raises(Busy):
            one.lock_acquire(automatic=True)
        with pytest.raises(ReadOnly, match="exclusive lock"):
            one.write(0, b"x")


def test_an_image_that_loses_the_feature_is_everyone_s(store: Store) -> None:
    with store.open("a") as one, store.open("a") as two:
        one.lock_acquire()
        store.update_features("a", ["object-map"], False)
        with pytest.raises(ReadOnly):
            two.write(0, b"y")
        store.update_features("a", ["exclusive-lock"], False)
        two.write(0, b"y")
        store.update_features("a", ["exclusive-lock"], True)
        assert one.lock_owner() is None


def test_a_lock_of_another_kind_is_in_the_way(store: Store) -> None:
    store.lock("a", "c")
    with pytest.raises(Busy):
        store.lock("a", "c", tag="t")
    store.unlock("a", "c")
    store.lock("a", "c", tag="t")
    with pytest.raises(Busy):
        store.lock("a", "c", tag="u")
    with pytest.raises(Busy):
        store.lock("a", "c")


def test_who_has_no_exclusive_lock(store: Store) -> None:
    store.create("b", MIB, features=["layering"])
    with store.open("b") as image, pytest.raises(InvalidArgument, match="exclusive-lock"):
        image.lock_acquire()
    with store.open("a", read_only=True) as image, pytest.raises(ReadOnly):
        image.lock_acquire()


def test_what_is_used_is_kept_for_who_asks(store: Store) -> None:
    with store.open("a"), pytest.raises(Busy, match="open for writing"):
        store.remove("a", unless_used=True)
    with store.open("a", read_only=True):
        store.remove("a", unless_used=True)
    store.create("a", MIB)
    store.create_snapshot("a@s")
    with store.open("a"), pytest.raises(NotEmpty):
        store.remove("a", unless_used=True)
    store.remove_snapshot("a@s")
    store.prepare_migration("a", "b")
    with pytest.raises(Busy, match="being moved"):
        store.remove("b", unless_used=True)
    store.remove("b")
    store.create("a", MIB)
    with store.open("a"):
        store.remove("a")
