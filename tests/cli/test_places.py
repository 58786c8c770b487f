"""Words and flags: `pool/image@snap` and `--pool --image --snap` mean the same."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowshed.cli.places import (
    GroupPlace,
    PathPlace,
    Place,
    PoolPlace,
    RoomPlace,
    TextPlace,
    fill,
    image,
    image_or_snapshot,
    snapshot,
)
from cowshed.errors import InvalidArgument

SNAP = (snapshot(),)
IMAGE = (image(),)
EITHER = (image_or_snapshot(),)
CLONE = (snapshot(), image("child", side="dest"))
MOVE = (image(), image("new", side="dest", pool_of="spec"))
EXPORT = (image_or_snapshot(), PathPlace())
IMPORT = (PathPlace(), image(optional=True, also="dest"))
LIST = (PoolPlace(default="rbd"),)
ROOM = (RoomPlace(),)
SPACE = (RoomPlace(needs_namespace=True),)
GROUP = (GroupPlace(),)
MEMBER = (GroupPlace("group", side="group"), image(side="image"))
META = (image(), TextPlace("key"), TextPlace("value"))


def filled(places: tuple[Place, ...], words: str, **flags: str) -> dict[str, Any]:
    every = dict.fromkeys([name for place in places for name in place.flags])
    assert flags.keys() <= every.keys()
    return {name: str(value) for name, value in fill(places, {**every, **flags}, words.split()).items()}


@pytest.mark.parametrize(
    ("places", "words", "flags", "found"),
    [
        (IMAGE, "a", {}, {"spec": "rbd/a"}),
        (IMAGE, "p/a", {}, {"spec": "p/a"}),
        (IMAGE, "p/n/a", {}, {"spec": "p/n/a"}),
        (IMAGE, "a", {"pool": "p"}, {"spec": "p/a"}),
        (IMAGE, "p/a", {"pool": "p"}, {"spec": "p/a"}),
        (IMAGE, "a", {"pool": "p", "namespace": "n"}, {"spec": "p/n/a"}),
        (IMAGE, "", {"image": "a"}, {"spec": "rbd/a"}),
        (IMAGE, "", {"image": "p/a"}, {"spec": "p/a"}),
        (SNAP, "a@s", {}, {"spec": "rbd/a@s"}),
        (SNAP, "a", {"snap": "s"}, {"spec": "rbd/a@s"}),
        (SNAP, "", {"pool": "p", "image": "a", "snap": "s"}, {"spec": "p/a@s"}),
        (SNAP, "", {"image": "p/a@s"}, {"spec": "p/a@s"}),
        (EITHER, "a", {}, {"spec": "rbd/a"}),
        (EITHER, "a@s", {}, {"spec": "rbd/a@s"}),
        (CLONE, "a@s b", {}, {"spec": "rbd/a@s", "child": "rbd/b"}),
        (CLONE, "p/a@s b", {}, {"spec": "p/a@s", "child": "rbd/b"}),
        (CLONE, "a@s", {"dest_pool": "q", "dest": "b"}, {"spec": "rbd/a@s", "child": "q/b"}),
        (CLONE, "b", {"image": "a", "snap": "s"}, {"spec": "rbd/a@s", "child": "rbd/b"}),
        (MOVE, "p/a b", {}, {"spec": "p/a", "new": "p/b"}),
        (MOVE, "p/a q/b", {}, {"spec": "p/a", "new": "q/b"}),
        (MOVE, "p/n/a b", {}, {"spec": "p/n/a", "new": "p/n/b"}),
        (MOVE, "p/n/a p/b", {}, {"spec": "p/n/a", "new": "p/b"}),
        (MOVE, "p/n/a b", {"dest_namespace": "m"}, {"spec": "p/n/a", "new": "p/m/b"}),
        (ROOM, "", {}, {"room": "rbd"}),
        (ROOM, "p/n", {}, {"room": "p/n"}),
        (ROOM, "p", {"namespace": "n"}, {"room": "p/n"}),
        (SPACE, "n", {"pool": "p"}, {"room": "p/n"}),
        (SPACE, "p/n", {}, {"room": "p/n"}),
        (GROUP, "p/n/g", {}, {"spec": "p/n/g"}),
        (GROUP, "", {"pool": "p", "group": "g"}, {"spec": "p/g"}),
        (MEMBER, "g p/a", {}, {"group": "rbd/g", "spec": "p/a"}),
        (MEMBER, "", {"group_pool": "q", "group": "g", "image": "a"}, {"group": "q/g", "spec": "rbd/a"}),
        (META, "a k v", {}, {"spec": "rbd/a", "key": "k", "value": "v"}),
        (META, "k v", {"image": "a"}, {"spec": "rbd/a", "key": "k", "value": "v"}),
        (EXPORT, "a@s -", {}, {"spec": "rbd/a@s", "path": "-"}),
        (EXPORT, "a", {"path": "x.raw"}, {"spec": "rbd/a", "path": "x.raw"}),
        (IMPORT, "x.raw", {}, {"path": "x.raw", "spec": "None"}),
        (IMPORT, "x.raw", {"pool": "p"}, {"path": "x.raw", "spec": "p"}),
        (IMPORT, "x.raw p/a", {}, {"path": "x.raw", "spec": "p/a"}),
        (LIST, "", {}, {"pool": "rbd"}),
        (LIST, "p", {}, {"pool": "p"}),
        (LIST, "", {"pool": "p"}, {"pool": "p"}),
    ],
)
def test_filled(places: tuple[Place, ...], words: str, flags: dict[str, str], found: dict[str, str]) -> None:
    assert filled(places, words, **flags) == found


@pytest.mark.parametrize(
    ("places", "words", "flags", "complaint"),
    [
        (IMAGE, "", {}, "IMAGE is missing"),
        (IMAGE, "a@s", {}, "names a snapshot"),
        (IMAGE, "a b", {}, "'b' is one argument too many"),
        (IMAGE, "p/a", {"pool": "q"}, "--pool says 'q'"),
        (IMAGE, "p/n/a", {"namespace": "m"}, "--namespace says 'm'"),
        (IMAGE, "p//a", {}, "empty part"),
        (IMAGE, "a@", {}, "names no snapshot"),
        (SNAP, "a", {}, "names no snapshot"),
        (SNAP, "a@s", {"snap": "t"}, "--snap says 't'"),
        (CLONE, "a@s", {}, "DEST-IMAGE is missing"),
        (CLONE, "a@s b@t", {}, "names a snapshot"),
        (EXPORT, "a", {}, "PATH is missing"),
        ((image_or_snapshot(optional=True),), "", {"snap": "s"}, "but no image"),
    ],
)
def test_refused(places: tuple[Place, ...], words: str, flags: dict[str, str], complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        filled(places, words, **flags)


NAMES = st.text(
    st.characters(exclude_characters="/@", exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=8
)


@given(NAMES, NAMES, NAMES, NAMES, st.integers(0, 7))
def test_every_mixture_of_words_and_flags_is_the_same(
    pool: str, namespace: str, name: str, snap: str, as_flags: int
) -> None:
    """Each part in the word or in its flag; what is in both must agree."""
    word = name if as_flags & 1 else f"{pool}/{namespace}/{name}"
    flags = {"pool": pool, "namespace": namespace} if as_flags & 1 else {}
    word, flags = (word, {**flags, "snap": snap}) if as_flags & 2 else (f"{word}@{snap}", flags)
    every: dict[str, str | None] = {**dict.fromkeys(SNAP[0].flags), **flags}
    words = [word]
    if as_flags & 4:
        every["image"], words = word, []
    found = fill(SNAP, every, words)
    assert str(found["spec"]) == f"{pool}/{namespace}/{name}@{snap}"


@given(
    st.lists(st.text(max_size=12), max_size=4),
    st.dictionaries(st.sampled_from(SNAP[0].flags), st.text(max_size=8)),
)
def test_any_words_and_flags_make_a_spec_or_are_refused(words: list[str], flags: dict[str, str]) -> None:
    for places in (SNAP, MOVE, MEMBER, ROOM, META, EXPORT):
        every: dict[str, str | None] = dict.fromkeys([name for place in places for name in place.flags])
        every |= {name: text for name, text in flags.items() if name in every}
        with contextlib.suppress(InvalidArgument):
            fill(places, every, list(words))
