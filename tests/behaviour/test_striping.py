"""Striping: kept and told as RBD's, and of no other meaning."""

from __future__ import annotations

import random

import pytest

from cowshed.errors import InvalidArgument
from cowshed.store import Store
from cowshed.store.striping import objects

MIB = 1 << 20


def test_it_is_kept_and_told(store: Store) -> None:
    store.create("a", 9 * MIB, order=22, striping=(65536, 4))
    stat = store.stat("a")
    assert (stat.striping, stat.stripe_unit, stat.stripe_count) == ((65536, 4), 65536, 4)
    assert stat.features[:2] == ("layering", "striping")
    assert stat.objects == 4
    store.create_snapshot("a@s")
    assert store.stat("a@s").striping == (65536, 4)
    store.create("plain", 9 * MIB, order=20, striping=(MIB, 1))
    plain = store.stat("plain")
    assert (plain.striping, plain.stripe_unit, plain.stripe_count, plain.objects) == (None, MIB, 1, 9)
    assert "striping" not in plain.features
    with store.open("a") as image:
        image.write(5 * MIB - 1, b"abc")
        assert image.read(5 * MIB - 2, 5) == b"\0abc\0"


def test_clones_and_copies_inherit_it_where_it_fits(store: Store) -> None:
    store.create("a", MIB, order=22, striping=(65536, 4))
    store.create_snapshot("a@s")
    for order, asked, found in (
        (None, None, (65536, 4)),
        (20, None, (65536, 4)),
        (12, None, None),
        (None, (MIB, 2), (MIB, 2)),
        (None, (4 * MIB, 1), None),
    ):
        name = f"{order}-{asked}"
        store.clone("a@s", f"clone {name}", order=order, striping=asked)
        store.copy("a", f"copy {name}", order=order, striping=asked)
        store.deep_copy("a", f"deep {name}", order=order, striping=asked)
        for way in ("clone", "copy", "deep"):
            assert store.stat(f"{way} {name}").striping == found, (way, order, asked)
    store.create_pool("other")
    store.prepare_migration("a", "other/a", order=12)
    assert store.stat("other/a").striping is None


@pytest.mark.parametrize("striping", [(5000, 2), (2 * MIB, 2), (0, 1), (4096, 0), (-4096, 1)])
def test_what_does_not_fit_is_refused(store: Store, striping: tuple[int, int]) -> None:
    store.create("a", MIB)
    store.create_snapshot("a@s")
    with pytest.raises(InvalidArgument):
        store.create("b", MIB, order=20, striping=striping)
    with pytest.raises(InvalidArgument):
        store.clone("a@s", "b", order=20, striping=striping)
    for copy in (store.copy, store.deep_copy):
        with pytest.raises(InvalidArgument):
            copy("a", "b", order=20, striping=striping)
    assert list(store.images("rbd")) == ["a"]


def test_how_many_objects_there_are() -> None:
    """Against every unit of a stripe put into its object, one after the other."""
    dice = random.Random(5)
    for _ in range(300):
        order = dice.randrange(12, 16)
        unit, count = 1 << dice.randrange(9, order + 1), dice.randrange(1, 7)
        size = dice.randrange(0, 40 << order)
        seen = set()
        for number in range(-(-size // unit)):
            stripe, place = divmod(number, count)
            seen.add(stripe // ((1 << order) // unit) * count + place)
        assert objects(size, order, (unit, count)) == len(seen), (size, order, unit, count)
        assert objects(size, order, None) == objects(size, order, (1 << order, 1))
