"""Words and flags: `pool/image@snap` and `--pool --image --snap` mean the same."""

from __future__ import annotations

from typing import Any

import pytest

from cowshed.cli.places import PathPlace, Place, PoolPlace, fill, image, image_or_snapshot, snapshot
from cowshed.errors import InvalidArgument

SNAP = (snapshot(),)
IMAGE = (image(),)
EITHER = (image_or_snapshot(),)
CLONE = (snapshot(), image("child", side="dest"))
MOVE = (image(), image("new", side="dest", pool_of="spec"))
EXPORT = (image_or_snapshot(), PathPlace())
IMPORT = (PathPlace(), image(optional=True, also="dest"))
LIST = (PoolPlace(default="rbd"),)


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
