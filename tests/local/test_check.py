"""The package's part of `check` notices whatever is broken in the catalogue."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cowshed._kernel import Transaction
from cowshed.errors import StoreDamaged
from cowshed.local import LocalStore, keys
from cowshed.store import steps

Damage = Callable[[Transaction, dict[bytes, bytes]], None]


@pytest.fixture
def family(store: LocalStore) -> LocalStore:
    """Something of everything."""
    store.create_pool("p")
    store.create("a", 1 << 20)
    with store.open("a") as image:
        image.write(0, b"x")
    store.create_snapshot("a@1")
    store.create_snapshot("a@2")
    store.clone("a@1", "p/b")
    values = {"k": b"1", "l": b"2"}
    written = [steps.write(100_000, b"z" * 100_000), steps.set_omap(values), steps.set_attribute("a", b"a")]
    store.change_object("p", "note", [*written, steps.set_omap_header(b"head")])
    assert store.check() == []
    return store


def key_of(prefix: bytes, keys_: dict[bytes, bytes], part: bytes = b"") -> bytes:
    return next(key for key in sorted(keys_) if key.startswith(prefix) and part in keys_[key] + key)


def replace(transaction: Transaction, key: bytes, old: bytes, value: bytes, new: bytes) -> None:
    assert old in value
    transaction.put(key, value.replace(old, new))


def _piece(number: int, k: dict[bytes, bytes]) -> bytes:
    return key_of(b"objectdata/", k, b"/%08x" % number)


def _twice_named(t: Transaction, k: dict[bytes, bytes]) -> None:
    a = key_of(b"image/", k, b'"name":"a"')
    t.put(b"image/ffff", k[a])


def _count(t: Transaction, k: dict[bytes, bytes]) -> None:
    key = key_of(b"image/", k, b'"snapshots":2')
    replace(t, key, b'"snapshots":2', k[key], b'"snapshots":3')


def _rename(t: Transaction, k: dict[bytes, bytes]) -> None:
    key = key_of(b"image/", k, b'"name":"b"')
    replace(t, key, b'"name":"b"', k[key], b'"name":"c"')


def _wrong_kind(t: Transaction, k: dict[bytes, bytes]) -> None:
    key = key_of(b"snap/", k)
    image = key_of(b"image/", k, b'"name":"a"')
    frozen = keys.snapshot_id(keys.last(key))
    head = k[image].split(b'"head":')[1].split(b",")[0]
    replace(t, image, b'"head":' + head, k[image], b'"head":%d' % frozen)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda t, k: t.delete(key_of(b"image/", k, b'"name":"b"')), "which is not called so"),
        (lambda t, k: t.delete(key_of(b"name/", k)), "not found under its name"),
        (lambda t, k: t.delete(key_of(b"snap/", k)), "should have 2 snapshots and has 1"),
        (lambda t, k: t.delete(key_of(b"snap/", k)), "belongs to no image or snapshot"),
        (lambda t, k: t.delete(key_of(b"snapname/", k)), "not found under its name"),
        (lambda t, k: t.delete(key_of(b"child/", k)), "not listed as a clone"),
        (lambda t, k: t.delete(b"pool/p"), "is in pool 'p', which does not exist"),
        (lambda t, k: t.put(b"child/aa/0000000000000001/bb", b""), "is listed as a clone of aa, and is not"),
        (lambda t, k: t.put(b"times/aa", k[key_of(b"times/", k)]), "times are kept of image aa"),
        (lambda t, k: t.put(b"name/rbd//z", b"ffff"), "which is not called so"),
        (lambda t, k: t.put(b"snapname/aa/z", b"01"), "belongs to no snapshot of that name"),
        (lambda t, k: t.put(b"pool/q", k[b"pool/p"]), "have the same id"),
        (lambda t, k: t.put(b"what", b""), "no part of cowshed uses"),
        (lambda t, k: t.put(b"zzz/x", b""), "no part of cowshed uses"),
        (lambda t, k: t.put(key_of(b"image/", k), b"{"), "is damaged"),
        (lambda t, k: t.put(key_of(b"image/", k), b'{"name":"x"}'), "is damaged"),
        (lambda t, k: t.put(key_of(b"snap/", k), b"[]"), "is damaged"),
        (lambda t, k: t.put(key_of(b"pool/", k), b"5"), "is damaged"),
        (lambda t, k: t.put(b"image/zz/x/y", b"\xff\xfe"), "is damaged"),
        (lambda t, k: t.drop(keys.snapshot_id(keys.last(key_of(b"snap/", k)))), "names version"),
        (lambda t, k: t.create(5) and None, "belongs to no image or snapshot"),
        (lambda t, k: t.delete(key_of(b"objectdata/", k)), "misses piece 0 of its data"),
        (lambda t, k: t.put(_piece(3, k), b"z"), "should have 3392 bytes and has 1"),
        (lambda t, k: t.put(_piece(3, k)[:-1] + b"4", b"z"), "has a piece '00000004', which lies behind"),
        (lambda t, k: t.put(_piece(3, k)[:-8] + b"3", b"z"), "has a piece '3', which lies behind"),
        (lambda t, k: t.put(key_of(b"objectdata/", k) + b"?", b"z"), "which lies behind its end"),
        (lambda t, k: t.delete(key_of(b"objectattr/", k)), "should have 1 attributes and has 0"),
        (lambda t, k: t.delete(key_of(b"objectomap/", k)), "should have 2 omap keys and has 1"),
        (lambda t, k: t.put(key_of(b"objecthead/", k), b"h"), "should have 4 bytes and has 1"),
        (lambda t, k: t.delete(b"object/p//note"), "data is kept of object"),
        (lambda t, k: t.delete(b"object/p//note"), "an attribute is kept of object"),
        (lambda t, k: t.delete(b"object/p//note"), "an omap is kept of object"),
        (lambda t, k: t.delete(b"object/p//note"), "header is kept of object"),
        (lambda t, k: t.delete(b"pool/p"), "object 'note' of pool 'p' is in a pool that does not exist"),
        (lambda t, k: t.put(b"object/p//twin", k[b"object/p//note"]), "has the same id as object 'note'"),
        (lambda t, k: t.put(b"object/p//note", b"{}"), "is damaged"),
        (_twice_named, "which another record names too"),
        (_count, "should have 3 snapshots and has 2"),
        (_rename, "which is not called so"),
        (_wrong_kind, "which is frozen"),
    ],
)
def test_damage_is_noticed(family: LocalStore, damage: Damage, complaint: str) -> None:
    with family._kernel.transaction() as transaction:
        damage(transaction, dict(family._kernel.scan(b"")))
    found = family.check()
    assert any(complaint in sentence for sentence in found), found


def test_damage_that_is_run_into_has_a_name(family: LocalStore) -> None:
    with family._kernel.transaction() as transaction:
        records = dict(family._kernel.scan(b"image/"))
        transaction.put(key_of(b"image/", records, b'"name":"a"'), b"rubbish")
    with pytest.raises(StoreDamaged, match="check"):
        family.stat("a")
    with family.open("p/b") as image:
        assert image.read(0, 1) == b"x"
