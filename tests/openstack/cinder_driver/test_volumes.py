"""Volumes and their snapshots, through Cinder's own RBD driver: what is there, and what is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from openstack.cinder_driver.pools import opened

if TYPE_CHECKING:
    from openstack.cinder_driver.conftest import Maker
    from openstack.cinder_driver.service import Cinder


def test_a_new_volume_is_empty_and_keeps_what_is_written(cinder: Cinder) -> None:
    volume = cinder.create("a")
    assert cinder.tree() == {"a": []}
    cinder.check()
    cinder.write(volume)
    cinder.check()
    cinder.delete(volume)
    assert cinder.tree() == {}
    assert cinder.trash() == []


def test_a_volume_that_is_gone_is_deleted_once_more_without_complaint(cinder: Cinder) -> None:
    volume = cinder.create("a")
    cinder.driver.delete_volume(volume)
    cinder.driver.delete_volume(volume)


def test_extending_adds_zeros(cinder: Cinder) -> None:
    volume = cinder.create("a")
    cinder.write(volume)
    cinder.extend(volume, 3)
    cinder.check()
    cinder.write(volume)
    cinder.check()


def test_a_snapshot_is_protected_and_keeps_its_content(cinder: Cinder) -> None:
    volume = cinder.create("a")
    cinder.write(volume)
    first = cinder.snapshot("s1", volume)
    cinder.write(volume)
    second = cinder.snapshot("s2", volume)
    cinder.write(volume)
    assert cinder.tree() == {"a": ["s1", "s2"]}
    cinder.check(volume, first, second)
    cinder.delete_snapshot(first)
    assert cinder.tree() == {"a": ["s2"]}
    cinder.check(volume, second)
    cinder.driver.delete_snapshot(first)
    cinder.delete_snapshot(second)
    cinder.delete(volume)
    assert cinder.tree() == {}


def test_reverting_gives_the_snapshots_content_and_keeps_later_snapshots(cinder: Cinder) -> None:
    volume = cinder.create("a")
    cinder.write(volume)
    first = cinder.snapshot("s1", volume)
    cinder.write(volume)
    second = cinder.snapshot("s2", volume)
    cinder.write(volume)
    cinder.revert(volume, first)
    cinder.check(volume, first, second)
    cinder.write(volume)
    cinder.check(volume, first, second)


def test_a_volume_from_a_snapshot_is_its_clone(make: Maker, clone_format: int) -> None:
    cinder = make(clone_format)
    source = cinder.create("a")
    cinder.write(source)
    snapshot = cinder.snapshot("s", source)
    cinder.write(source)
    same = cinder.from_snapshot("b", snapshot)
    larger = cinder.from_snapshot("c", snapshot, 2)
    assert cinder.tree() == {"a": ["s"], "b": [], "c": []}
    assert [cinder.parent(each) for each in (same, larger)] == ["a@s", "a@s"]
    cinder.write(same, larger)
    cinder.check(source, snapshot, same, larger)


def test_a_volume_from_a_snapshot_is_flattened_where_the_backend_says_so(
    make: Maker, clone_format: int
) -> None:
    cinder = make(clone_format, rbd_flatten_volume_from_snapshot=True)
    source = cinder.create("a")
    cinder.write(source)
    snapshot = cinder.snapshot("s", source)
    volume = cinder.from_snapshot("b", snapshot)
    assert cinder.parent(volume) is None
    cinder.check()
    cinder.delete_snapshot(snapshot)
    cinder.delete(source)
    assert cinder.tree() == {"b": []}
    cinder.check()


def test_a_snapshot_with_volumes_goes(make: Maker, clone_format: int) -> None:
    """With format 1 the driver flattens them first; with 2 they keep a parent that has no name any more."""
    cinder = make(clone_format)
    source = cinder.create("a")
    cinder.write(source)
    snapshot = cinder.snapshot("s", source)
    volume = cinder.from_snapshot("b", snapshot)
    cinder.delete_snapshot(snapshot)
    assert cinder.tree() == {"a": [] if clone_format == 1 else ["(gone)"], "b": []}
    assert cinder.parent(volume) == (None if clone_format == 1 else "a@(gone)")
    cinder.check()
    cinder.delete(source)
    assert cinder.tree() == {"b": []}
    assert cinder.parent(volume) is None
    cinder.check()
    cinder.delete(volume)
    assert cinder.tree() == {}
    assert cinder.trash() == []


def test_a_volume_with_snapshots_goes_to_the_trash(cinder: Cinder) -> None:
    """Cinder's API refuses that; the driver, asked nevertheless, does not leave the volume in the pool."""
    volume = cinder.create("a")
    cinder.snapshot("s", volume)
    cinder.delete(volume)
    assert cinder.tree() == {}
    assert cinder.trash() == ["a"]


def test_the_source_of_a_clone_stays_until_the_clones_are_gone(make: Maker, clone_format: int) -> None:
    """And longer: this release of the driver leaves sources behind that nobody needs any more."""
    cinder = make(clone_format)
    a = cinder.create("a")
    cinder.write(a)
    b = cinder.clone("b", a)
    c = cinder.clone("c", b, 2)
    assert cinder.tree() == {"a": ["b.clone_snap"], "b": ["c.clone_snap"], "c": []}
    assert [cinder.parent(each) for each in (a, b, c)] == [None, "a@b.clone_snap", "b@c.clone_snap"]
    cinder.write(a, b, c)
    cinder.check()
    cinder.delete(a)
    assert cinder.tree() == {"a.deleted": ["b.clone_snap"], "b": ["c.clone_snap"], "c": []}
    cinder.check()
    cinder.delete(b)
    assert cinder.tree() == {"a.deleted": ["b.clone_snap"], "b.deleted": ["c.clone_snap"], "c": []}
    cinder.check()
    cinder.delete(c)
    assert cinder.tree() == {"a.deleted": ["b.clone_snap"], "b.deleted": ["c.clone_snap"]}
    assert cinder.trash() == []


def test_the_clone_after_the_deepest_one_is_flattened(make: Maker, clone_format: int) -> None:
    cinder = make(clone_format, rbd_max_clone_depth=2)
    volumes = [cinder.create("v0")]
    cinder.write(volumes[0])
    for number in range(1, 5):
        volumes.append(cinder.clone(f"v{number}", volumes[-1]))
        cinder.write(volumes[-1])
    parents = [cinder.parent(each) for each in volumes]
    assert parents == [None, "v0@v1.clone_snap", "v1@v2.clone_snap", None, "v3@v4.clone_snap"]
    snapshots = {
        "v0": ["v1.clone_snap"],
        "v1": ["v2.clone_snap"],
        "v2": [],
        "v3": ["v4.clone_snap"],
        "v4": [],
    }
    assert cinder.tree() == snapshots
    cinder.check()


def test_clones_are_copies_where_no_depth_is_allowed(make: Maker) -> None:
    cinder = make(rbd_max_clone_depth=0)
    a = cinder.create("a")
    cinder.write(a)
    b = cinder.clone("b", a, 2)
    assert cinder.tree() == {"a": [], "b": []}
    assert cinder.parent(b) is None
    cinder.check()
    cinder.delete(a)
    assert cinder.tree() == {"b": []}
    cinder.check()


def test_a_purge_takes_from_the_trash_what_has_waited_long_enough(make: Maker) -> None:
    cinder = make(enable_deferred_deletion=True)
    ready, waiting, held = (cinder.create(label) for label in ("ready", "waiting", "held"))
    cinder.snapshot("s", held)
    cinder.delete(held)
    with opened(cinder.conf, "volumes") as ioctx:
        cinder.driver._move_volume_to_trash(ioctx, ready.name, 0)
        cinder.driver._move_volume_to_trash(ioctx, waiting.name, 3600)
    assert (cinder.tree(), cinder.trash()) == ({}, ["held", "ready", "waiting"])
    cinder.driver._trash_purge()
    assert cinder.trash() == ["held", "waiting"]


def test_what_a_client_has_open_is_not_deleted(make: Maker) -> None:
    from cinder import exception

    cinder = make(rados_connection_retries=1)
    volume = cinder.create("a")
    with cinder.attached(volume) as handle:
        with pytest.raises(exception.VolumeIsBusy):
            cinder.driver.delete_volume(volume)
        handle.write(b"still here")
    assert cinder.tree() == {"a": []}
    cinder.delete(volume)
    assert cinder.tree() == {}
