"""Handles: what clients have open, their locks among one another, and their ends."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from cowshed.errors import Busy, IOFailure, NotFound, ReadOnly
from cowshed.local import LocalStore, images
from cowshed.local.clients import Client
from cowshed.serve import handles as module
from cowshed.serve.handles import Handles
from cowshed.serve.principal import OWNER, Principal
from cowshed.wire.answers import DiffPage, HandleInfo, HandleLock
from cowshed.wire.records import decode
from serve.serving import Served

MIB = 1 << 20
BLOCK = 4096


def opened(client: Served, spec: str, **more: Any) -> HandleInfo:
    reply = client.send("POST", "/v1/handles", {"spec": spec, **more})
    assert reply.status == 201, reply
    info = decode(HandleInfo, reply.json)
    assert isinstance(info, HandleInfo)
    return info


def lock_of(client: Served, handle: HandleInfo) -> HandleLock:
    lock = decode(HandleLock, client.send("GET", f"/v1/handles/{handle.id}/lock").json)
    assert isinstance(lock, HandleLock)
    return lock


@pytest.fixture(autouse=True)
def image_a(store: LocalStore) -> None:
    store.create("a", MIB)
    with store.open("a") as image:
        image.write(0, b"1" * BLOCK)
    store.create_snapshot("a@s")


def test_what_is_open(here: Served, store: LocalStore) -> None:
    client = here.as_client(5)
    handle = opened(client, "a")
    assert (handle.spec, handle.size, handle.read_only) == ("rbd/a", MIB, False)
    assert handle.client == "client.5"
    assert handle.export is not None
    assert handle.export.startswith(".handle/")
    assert len(handle.export) == len(".handle/") + 32
    (watcher,) = store.watchers("a")
    assert (watcher.client, watcher.cookie, watcher.address) == ("client.5", handle.cookie, "there:0/5")
    store.resize("a", 2 * MIB)
    again = client.send("GET", f"/v1/handles/{handle.id}").json
    assert (again["size"], again["export"]) == (2 * MIB, None)
    assert client.send("DELETE", f"/v1/handles/{handle.id}").status == 204
    assert store.watchers("a") == []
    for method in ("GET", "DELETE"):
        assert client.send(method, f"/v1/handles/{handle.id}").error == (404, "NotFound")
    assert here.send("GET", "/v1/handles").json == []


def test_snapshots_and_reading(here: Served, store: LocalStore) -> None:
    snapshot = store.snapshots("a")[0]
    by_name, by_id = opened(here, "a@s"), opened(here, "a", snapshot_id=snapshot.id)
    reading = opened(here, "a", read_only=True)
    assert [each.spec for each in (by_name, by_id, reading)] == ["rbd/a@s", "rbd/a@s", "rbd/a"]
    assert all(each.read_only and each.cookie == "" for each in (by_name, by_id, reading))
    assert store.watchers("a") == []
    for handle in (by_name, by_id, reading):
        for method in ("GET", "POST", "DELETE"):
            assert here.send(method, f"/v1/handles/{handle.id}/lock").error == (403, "ReadOnly")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"spec": "none"}, (404, "NotFound")),
        ({"spec": "a@none"}, (404, "NotFound")),
        ({"spec": "a", "snapshot_id": 999}, (404, "NotFound")),
        ({"spec": "a//"}, (400, "InvalidArgument")),
        ({}, (400, "InvalidArgument")),
        ({"spec": "a", "read_only": "yes"}, (400, "InvalidArgument")),
        ({"spec": "a", "colour": 1}, (400, "InvalidArgument")),
    ],
)
def test_what_cannot_be_opened(here: Served, body: dict[str, Any], error: tuple[int, str]) -> None:
    assert here.send("POST", "/v1/handles", body).error == error


def test_the_exclusive_lock_is_among_all(here: Served, store: LocalStore) -> None:
    one, two = here.as_client(1), here.as_client(2)
    first, second = opened(one, "a"), opened(two, "a")
    with store.open("a") as image:
        assert lock_of(one, first) == HandleLock(None, False)
        assert one.send("POST", f"/v1/handles/{first.id}/lock").status == 204
        lock = lock_of(one, first)
        assert (lock.mine, lock_of(two, second).mine) == (True, False)
        assert lock.owner == lock_of(two, second).owner == image.lock_owner()
        assert lock.owner is not None
        assert (lock.owner.client, lock.owner.cookie, lock.owner.address) == (
            *("client.1", first.cookie, "there:0/1"),
        )
        assert two.send("POST", f"/v1/handles/{second.id}/lock").error == (409, "Busy")
        assert two.send("DELETE", f"/v1/handles/{second.id}/lock").error == (400, "InvalidArgument")
        with pytest.raises(Busy):
            image.lock_acquire()
        with pytest.raises(ReadOnly, match="exclusive lock"):
            image.write(0, b"x")
        wrong = two.send("POST", f"/v1/handles/{second.id}/lock/break", {"cookie": second.cookie})
        assert wrong.error == (404, "NotFound")
        broken = two.send("POST", f"/v1/handles/{second.id}/lock/break", {"cookie": first.cookie})
        assert broken.status == 204
        image.write(0, b"x")
        image.lock_acquire()
        assert one.send("POST", f"/v1/handles/{first.id}/lock").error == (409, "Busy")
        owner = lock_of(one, first).owner
        assert owner is not None
        assert owner.client == store.client
    assert one.send("POST", f"/v1/handles/{first.id}/lock").status == 204
    assert one.send("DELETE", f"/v1/handles/{first.id}").status == 204
    assert lock_of(two, second).owner is None


def test_closing_says_when_it_was_written(here: Served, store: LocalStore) -> None:
    before = store.stat("a").modified
    reading = opened(here, "a")
    here.send("DELETE", f"/v1/handles/{reading.id}")
    assert store.stat("a").modified == before
    writing = opened(here, "a")
    here.send("DELETE", f"/v1/handles/{writing.id}?written=true")
    assert store.stat("a").modified > before


def test_diff_in_pages(here: Served, store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DIFF_PAGE", 3)
    with store.open("a") as image:
        for block in (1, 2, 5, 7, 9, 20, 22, 30):
            image.write(block * BLOCK, b"2" * BLOCK)
        image.discard(0, BLOCK)
        handle = opened(here, "a")
        for start in (None, "s"):
            found, at = [], 0
            while at is not None:
                query = f"offset={at}" + (f"&from_snapshot={start}" if start else "")
                reply = here.send("GET", f"/v1/handles/{handle.id}/diff?{query}")
                page = decode(DiffPage, reply.json)
                assert len(page.extents) <= 3
                found += page.extents
                at = page.next
            assert found == list(image.diff(start))
        part = decode(
            DiffPage, here.send("GET", f"/v1/handles/{handle.id}/diff?offset=4096&length=8192").json
        )
        assert list(part.extents) == list(image.diff(offset=4096, length=8192))
    assert here.send("GET", f"/v1/handles/{handle.id}/diff?from_snapshot=none").error == (404, "NotFound")
    assert here.send("GET", f"/v1/handles/{handle.id}/diff?offset={2 * MIB}").error == (
        *(400, "InvalidArgument"),
    )


def test_a_removed_image(here: Served, store: LocalStore) -> None:
    handle = opened(here, "a")
    store.purge_snapshots("a")
    store.remove("a")
    assert here.send("GET", f"/v1/handles/{handle.id}/diff").error == (404, "NotFound")
    assert len(here.send("GET", "/v1/handles").json) == 1
    assert here.send("DELETE", f"/v1/handles/{handle.id}").status == 204


class Times:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_ends(store: LocalStore) -> None:
    clock = Times()
    handles = Handles(clock=clock)
    first, second = (handles.open(store, OWNER, "a") for _ in range(2))
    assert handles.connected(second)
    clock.now += module.IDLE_SECONDS - 1
    handles.sweep()
    assert handles.all() == [first, second]
    clock.now += 1
    handles.sweep()
    assert handles.all() == [second]
    assert handles.of_token(first.token) is None
    with pytest.raises(NotFound):
        handles.get(first.id, OWNER)
    assert len(store.watchers("a")) == 1
    # While it is connected it stays, and for some seconds longer.
    assert handles.connected(second)
    handles.disconnected(second)
    clock.now += 1000
    handles.sweep()
    assert handles.all() == [second]
    handles.disconnected(second)
    handles.sweep()
    assert handles.connected(second)
    clock.now += 1000
    handles.sweep()
    handles.disconnected(second)
    clock.now += module.LINGER_SECONDS
    handles.sweep()
    assert handles.all() == []
    assert store.watchers("a") == []
    assert not handles.connected(second)


def test_whose_they_are_and_how_many(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    handles = Handles()
    monkeypatch.setattr(module, "MOST", 1)
    handle = handles.open(store, OWNER, "a")
    with pytest.raises(NotFound):
        handles.get(handle.id, Principal("other", "admin"))
    with pytest.raises(Busy):
        handles.open(store, OWNER, "a")
    handles.close()
    assert store.watchers("a") == []


def test_one_that_cannot_be_closed_keeps_no_other_open(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Times()
    handles = Handles(clock=clock)
    first, second = (handles.open(store, OWNER, "a") for _ in range(2))
    second.image.note_written()

    def fails(catalog: object, image_id: str) -> None:
        raise IOFailure("the medium is gone")

    monkeypatch.setattr(images, "touch", fails)
    clock.now += module.IDLE_SECONDS
    with pytest.raises(IOFailure):
        handles.sweep()
    assert handles.all() == []
    assert store.watchers("a") == []
    assert first.image.cookie != second.image.cookie


def test_many_clients_take_the_lock(store: LocalStore) -> None:
    handles, held, most = Handles(), [0], [0]
    guard = threading.Lock()

    def client(number: int) -> None:
        handle = handles.open(store.acting_for(Client(f"client.{number}", "")), OWNER, "a")
        taken = 0
        while taken < 20:
            try:
                handle.image.lock_acquire()
            except Busy:
                continue
            with guard:
                held[0] += 1
                most[0] = max(most[0], held[0])
            taken += 1
            with guard:
                held[0] -= 1
            handle.image.lock_release()
        handles.end(handle)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1]


def test_a_client_of_its_own(store: LocalStore) -> None:
    other = store.acting_for(Client("client.3", "there:0/3"))
    other.lock("a", "c")
    lock = store.locks("a")
    assert lock is not None
    assert (lock.lockers[0].client, lock.lockers[0].address) == ("client.3", "there:0/3")
    with pytest.raises(NotFound):
        store.unlock("a", "c")
    other.unlock("a", "c")
    other.close()
    assert store.locks("a") is None
