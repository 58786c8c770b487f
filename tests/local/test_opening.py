"""Targets, and making and opening stores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import cowshed
from cowshed.errors import (
    AlreadyExists,
    CowshedError,
    InvalidArgument,
    NotFound,
    StoreLocked,
    UnsupportedFormat,
    UnsupportedTarget,
)
from cowshed.local import LocalStore, keys
from cowshed.local.stored import SCHEME_VERSION


def test_init_makes_a_store_with_its_pool(path: Path) -> None:
    cowshed.init(path)
    with cowshed.open(path) as store:
        assert store.target == str(path)
        assert [pool.name for pool in store.pools()] == ["rbd"]
        assert store.check() == []


def test_init_takes_an_empty_directory_and_nothing_else(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    cowshed.init(path)
    with pytest.raises(AlreadyExists):
        cowshed.init(path)
    with pytest.raises(AlreadyExists):
        cowshed.init(tmp_path)


def test_the_target_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with cowshed.open("here", create=True) as store:
        assert store.target == os.path.join(tmp_path, "here")  # noqa: PTH118


def test_what_cannot_be_opened(path: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="init"):
        cowshed.open(path)
    (tmp_path / "file").write_text("x")
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(CowshedError):
            cowshed.open(place)
        with pytest.raises(CowshedError):
            cowshed.open(place, create=True)
    with pytest.raises(InvalidArgument):
        cowshed.open("")
    for target in ("ceph://pool?conf=x", "http://x"):
        with pytest.raises(UnsupportedTarget, match=target.split(":", maxsplit=1)[0]):
            cowshed.open(target)


def test_one_owner_at_a_time(path: Path) -> None:
    with cowshed.open(path, create=True), pytest.raises(StoreLocked, match=str(os.getpid())):
        cowshed.open(path)
    cowshed.open(path).close()


def test_create_opens_what_is_there(path: Path) -> None:
    with cowshed.open(path, create=True) as store:
        store.create("a", 5)
    with cowshed.open(path, create=True) as store:
        assert store.stat("a").size == 5


def test_an_init_cut_short_is_completed(path: Path) -> None:
    from cowshed._kernel import Kernel

    Kernel.create(str(path))
    with cowshed.open(path) as store:
        assert [pool.name for pool in store.pools()] == ["rbd"]


def test_a_newer_catalogue_is_let_be(path: Path, store: LocalStore) -> None:
    with store._kernel.transaction() as transaction:
        transaction.put(keys.SCHEME, str(SCHEME_VERSION + 1).encode())
    store.close()
    with pytest.raises(UnsupportedFormat):
        cowshed.open(path)
    with pytest.raises(UnsupportedFormat):  # and not StoreLocked: the failed open let go
        cowshed.open(path)


@pytest.mark.parametrize("scheme", [b"1", b"2", b"3"])
def test_an_older_catalogue_is_taken_over(path: Path, store: LocalStore, scheme: bytes) -> None:
    store.create("a", 5)
    with store._kernel.transaction() as transaction:
        transaction.put(keys.SCHEME, scheme)
    store.close()
    for _ in range(2):
        with cowshed.open(path) as again:
            assert list(again.images("rbd")) == ["a"]
            assert [pool.name for pool in again.pools()] == ["rbd"]
            assert isinstance(again, LocalStore)
            assert again._kernel.get(keys.SCHEME) == str(SCHEME_VERSION).encode()
