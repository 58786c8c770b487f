"""`daemon`: a store with a daemon in this process; `store`: the store through it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import cowshed
from cowshed.remote import RemoteStore
from remote.daemon import ServedStore


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[ServedStore]:
    with ServedStore(tmp_path / "store") as daemon:
        yield daemon


@pytest.fixture
def store(daemon: ServedStore) -> Iterator[RemoteStore]:
    with cowshed.open(daemon.path) as store:
        assert isinstance(store, RemoteStore)
        yield store
