"""The remote engine answers as the local one on the very same store: values, types, errors and words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from cowshed.errors import CowshedError
from cowshed.remote import RemoteStore
from cowshed.store import GroupSpec, Image, ImageSpec, Store, steps
from cowshed.wire.operations import OPERATIONS
from remote.daemon import ServedStore

MIB = 1 << 20
Call = Callable[[Store], Any]


@pytest.fixture
def furnished(store: RemoteStore) -> RemoteStore:
    """Something of everything."""
    store.create_pool("vms")
    store.create_namespace("vms", "blue")
    for spec in ("a", "b", "vms/a", "vms/blue/ä ö?&=%/"[:-1]):
        store.create(spec, 3 * MIB + 1, order=20)
    with store.open("a") as image:
        image.write(5000, b"x" * 100_000)
    first = store.create_snapshot("a@first")
    with store.open("a") as image:
        image.write(0, b"y" * 10)
    store.create_snapshot("a@second")
    store.protect_snapshot("a@second")
    assert first.name == "first"
    store.clone("a@first", "vms/child")
    store.clone("a@second", "format1", clone_format=1)
    store.set_snapshot_limit("b", 5)
    store.set_metadata("a", "key", "värde")
    store.set_config("rbd_cache_size", "1M", image="a")
    store.set_pool_metadata("vms", "key", "värde")
    store.lock("a", "cookie", tag="tag")
    store.create_group("g")
    store.add_to_group("g", "b")
    store.create_group_snapshot("g", "s")
    store.create("gone", MIB)
    store.trash_move("gone", delay=1000.5)
    store.create("moving", MIB)
    store.prepare_migration("moving", "vms/moved")
    note = [steps.write(70_000, b"note\x00\xff"), steps.set_attribute("attribute", b"\x80")]
    note += [steps.set_omap({f"key {number}": b"\xfe" * number for number in range(5)})]
    store.change_object("vms", "a/nöte", [*note, steps.set_omap_header(b"head")], namespace="free")
    return store


READS: dict[str, list[Call]] = {
    "pools": [lambda s: s.pools()],
    "pool_stats": [
        lambda s: replace(s.pool_stats("rbd"), available=0),  # other programs write, too
        lambda s: s.pool_stats("none"),
    ],
    "mirror_mode": [lambda s: s.mirror_mode("rbd"), lambda s: s.mirror_mode("none")],
    "namespaces": [lambda s: s.namespaces("vms"), lambda s: s.namespaces("none")],
    "images": [
        lambda s: list(s.images("rbd")),
        lambda s: list(s.images("vms", "blue")),
        lambda s: s.images("none"),
        lambda s: isinstance(s.images("rbd"), Iterator),
    ],
    "stat": [
        lambda s: s.stat("a"),
        lambda s: s.stat(ImageSpec("rbd", "", "b")),
        lambda s: s.stat("a@second"),
        lambda s: s.stat("vms/child"),
        lambda s: s.stat("vms/blue/ä ö?&=%"),
        lambda s: s.stat("none"),
        lambda s: s.stat("a@none"),
        lambda s: s.stat(""),
        lambda s: s.stat("a/b/c/d"),
        lambda s: s.stat("a\n"),
        lambda s: s.stat("x" * 300),
    ],
    "find_image": [
        lambda s: s.find_image("rbd", s.stat("a").id),
        lambda s: s.find_image("rbd", "ffff"),
    ],
    "snapshots": [
        lambda s: s.snapshots("a"),
        lambda s: s.snapshots("b", all_namespaces=True),
        lambda s: s.snapshots("a@first"),
    ],
    "snapshot_limit": [lambda s: s.snapshot_limit("a"), lambda s: s.snapshot_limit("b")],
    "children": [lambda s: s.children("a"), lambda s: s.children("a@first"), lambda s: s.children("b")],
    "descendants": [lambda s: s.descendants("a")],
    "trash": [lambda s: s.trash("rbd"), lambda s: s.trash("vms", "blue")],
    "groups": [lambda s: s.groups("rbd")],
    "group": [lambda s: s.group("g"), lambda s: s.group(GroupSpec("rbd", "", "none"))],
    "metadata": [lambda s: s.metadata("a"), lambda s: s.metadata("b")],
    "get_metadata": [lambda s: s.get_metadata("a", "key"), lambda s: s.get_metadata("a", "none")],
    "config": [lambda s: s.config("a"), lambda s: s.config(pool="vms"), lambda s: s.config()],
    "locks": [lambda s: s.locks("a"), lambda s: s.locks("b")],
    "watchers": [lambda s: s.watchers("a")],
    "migration": [lambda s: s.migration("vms/moved"), lambda s: s.migration("a")],
    "usage": [lambda s: s.usage("a"), lambda s: s.usage("a@first"), lambda s: s.usage("none")],
    "store_usage": [lambda s: s.store_usage()],
    # Others write to the file system as well.
    "facts": [lambda s: replace(s.facts(), available=0)],
    "pool_metadata": [lambda s: s.pool_metadata("vms"), lambda s: s.pool_metadata("none")],
    "objects": [
        lambda s: s.objects("vms", "free"),
        lambda s: s.objects("vms", "free", after="a/nöte"),
        lambda s: s.objects("vms"),
        lambda s: s.objects("none"),
        lambda s: s.objects("vms", limit=0),
        lambda s: s.objects("vms/x"),
        lambda s: s.objects("vms", "x/y"),
    ],
    "object_namespaces": [lambda s: s.object_namespaces("vms"), lambda s: s.object_namespaces("rbd")],
    "stat_object": [
        lambda s: s.stat_object("vms", "a/nöte", namespace="free"),
        lambda s: s.stat_object("vms", "a/nöte"),
        lambda s: s.stat_object("none", "a"),
        lambda s: s.stat_object("vms", ""),
        lambda s: s.stat_object("vms", "x" * 3000),
    ],
    "read_object": [
        lambda s: s.read_object("vms", "a/nöte", namespace="free"),
        lambda s: s.read_object("vms", "a/nöte", namespace="free", offset=69_999, length=3),
        lambda s: s.read_object("vms", "a/nöte", namespace="free", offset=-1),
        lambda s: s.read_object("vms", "none"),
    ],
    "object_attributes": [lambda s: s.object_attributes("vms", "a/nöte", namespace="free")],
    "object_omap": [
        lambda s: s.object_omap("vms", "a/nöte", namespace="free"),
        lambda s: s.object_omap("vms", "a/nöte", namespace="free", after="key 1", prefix="key", limit=2),
        lambda s: s.object_omap("vms", "none"),
    ],
    "object_omap_values": [
        lambda s: s.object_omap_values("vms", "a/nöte", ["key 3", "none", "key 0"], namespace="free"),
        lambda s: s.object_omap_values("vms", "a/nöte", [], namespace="free"),
        lambda s: s.object_omap_values("vms", "none", ["x"]),
    ],
    "object_omap_header": [lambda s: s.object_omap_header("vms", "a/nöte", namespace="free")],
}


def outcome(call: Call, store: Store) -> tuple[Any, ...]:
    try:
        return "answered", call(store)
    except CowshedError as error:
        return "refused", type(error), error.message, error.hint


def test_every_question_is_answered_alike(daemon: ServedStore, furnished: RemoteStore) -> None:
    assert {row.name for row in OPERATIONS.values() if row.role == "read"} == READS.keys()
    for name, calls in READS.items():
        for number, call in enumerate(calls):
            here, there = outcome(call, daemon.store), outcome(call, furnished)
            assert there == here, f"{name} {number}"
            assert type(there[-1]) is type(here[-1]) or name == "images", f"{name} {number}"


def test_a_text_that_cannot_be_sent(furnished: RemoteStore) -> None:
    for call in (
        lambda: furnished.stat("\ud800"),
        lambda: furnished.create("\ud800", MIB),
        lambda: furnished.set_metadata("a", "\ud800", "x"),
        lambda: furnished.remove_metadata("a", "\ud800"),
    ):
        with pytest.raises(CowshedError, match=r"UTF-8|Unicode|no metadata"):
            call()


REFUSED: list[Call] = [
    lambda s: s.create_pool("rbd"),
    lambda s: s.create_pool("a/b"),
    lambda s: s.remove_pool("rbd"),
    lambda s: s.remove_namespace("vms", "blue"),
    lambda s: s.create("a", MIB),
    lambda s: s.create("c", -1),
    lambda s: s.create("c", 1 << 60),
    lambda s: s.create("c", MIB, order=3),
    lambda s: s.create("c", MIB, features=["nonsense"]),
    lambda s: s.create("c@s", MIB),
    lambda s: s.rename("a", "b"),
    lambda s: s.rename("a", "vms/c"),
    lambda s: s.resize("a", 1),
    lambda s: s.remove("a"),
    lambda s: s.remove("b", progress=lambda *_: None),
    lambda s: s.copy("a", "b"),
    lambda s: s.deep_copy("a@none", "c", progress=lambda *_: None),
    lambda s: s.sparsify("none"),
    lambda s: s.update_features("a", ["striping"], True),
    lambda s: s.create_snapshot("a@first"),
    lambda s: s.create_snapshot("a"),
    lambda s: s.remove_snapshot("a@second"),
    lambda s: s.rename_snapshot("a@first", "a@second"),
    lambda s: s.rename_snapshot("a@first", "b@second"),
    lambda s: s.rollback("a@none"),
    lambda s: s.protect_snapshot("a@second"),
    lambda s: s.unprotect_snapshot("a@first"),
    lambda s: s.unprotect_snapshot("a@second"),
    lambda s: s.clone("a@first", "b"),
    lambda s: s.clone("a@first", "c", clone_format=1),
    lambda s: s.flatten("a", progress=lambda *_: None),
    lambda s: s.trash_move("b"),
    lambda s: s.trash_restore("rbd", "ffff"),
    lambda s: s.trash_remove("rbd", s.trash("rbd")[0].id),
    lambda s: s.create_group("g"),
    lambda s: s.rename_group("g", "vms/h"),
    lambda s: s.remove_group("none"),
    lambda s: s.add_to_group("g", "b"),
    lambda s: s.remove_from_group("g", "a"),
    lambda s: s.create_group_snapshot("g", "s"),
    lambda s: s.rename_group_snapshot("g", "none", "t"),
    lambda s: s.remove_group_snapshot("g", "none"),
    lambda s: s.rollback_group("g", "none"),
    lambda s: s.set_metadata("a", "", "x"),
    lambda s: s.remove_metadata("a", "none"),
    lambda s: s.set_config("nonsense", "1", pool="rbd"),
    lambda s: s.remove_config("rbd_cache_size", pool="rbd"),
    lambda s: s.lock("a", "other"),
    lambda s: s.break_lock("a", "client.1", "x"),
    lambda s: s.prepare_migration("a", "vms/a"),
    lambda s: s.commit_migration("vms/moved"),
    lambda s: s.abort_migration("a", progress=lambda *_: None),
    lambda s: s.change_object("vms", "a/nöte", [steps.create(exclusively=True)], namespace="free"),
    lambda s: s.change_object("vms", "none", [steps.remove()]),
    lambda s: s.change_object("vms", "none", [steps.write(0, bytes(16 << 20)), steps.append(b"x")]),
    lambda s: s.change_object("vms", "none", [steps.set_attribute("a" * 256, b"")]),
    lambda s: s.change_object("vms", "none", [steps.set_attribute("a", bytes((64 << 10) + 1))]),
    lambda s: s.change_object("vms", "a/nöte", [steps.compare(0, b"x")], namespace="free"),
    lambda s: s.change_object("none", "none", [steps.create()]),
    lambda s: s.open("none"),
    lambda s: s.open("a@none"),
    lambda s: s.open("a", snapshot_id=1 << 40),
    lambda s: s.open(""),
]


def test_every_refusal_has_the_same_class_and_words(daemon: ServedStore, furnished: RemoteStore) -> None:
    """None of these changes anything, so one engine after the other can be asked."""
    for number, call in enumerate(REFUSED):
        here, there = outcome(call, daemon.store), outcome(call, furnished)
        assert here[0] == "refused", number
        assert there == here, number


SIZE = 3 * MIB + 1
OF_IMAGES: list[Callable[[Image], Any]] = [
    lambda i: (i.spec, i.size, i.read_only, i.is_lock_owner),
    lambda i: i.read(0, SIZE),
    lambda i: i.read(SIZE, 0),
    lambda i: i.read(SIZE, 1),
    lambda i: i.read(0, 1 << 50),
    lambda i: i.discard(0, SIZE + 1),
    lambda i: i.write_zeroes(SIZE - 1, 2),
    lambda i: i.write(SIZE, b"x"),
    lambda i: i.write(SIZE, b""),
    lambda i: i.flush(),
    lambda i: list(i.diff()),
    lambda i: list(i.diff("first")),
    lambda i: list(i.diff(offset=4096, length=5000)),
    lambda i: i.diff("none"),
    lambda i: list(i.diff("second")),
    lambda i: i.diff(offset=SIZE + 1),
    lambda i: i.diff(offset=0, length=SIZE + 1),
    lambda i: i.lock_owner(),
    lambda i: i.lock_release(),
    lambda i: i.lock_break("nobody"),
]


@pytest.mark.parametrize(("spec", "read_only"), [("a", False), ("a", True), ("a@first", False)])
def test_open_images_answer_alike(
    daemon: ServedStore, furnished: RemoteStore, spec: str, read_only: bool
) -> None:
    for number, ask in enumerate(OF_IMAGES):

        def asked(store: Store, ask: Callable[[Image], Any] = ask) -> Any:
            with store.open(spec, read_only=read_only) as image:
                return ask(image)

        assert outcome(asked, furnished) == outcome(asked, daemon.store), number
