"""`store`: an empty local store; `here`: the way to it through the daemon's application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import cowshed
from cowshed.local import LocalStore
from cowshed.serve.services import Services
from serve.serving import Served, served


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    with cowshed.open(tmp_path / "store", create=True) as store:
        assert isinstance(store, LocalStore)
        yield store
        assert store.check() == []


@pytest.fixture
def here(store: LocalStore, tmp_path: Path) -> Iterator[Served]:
    with served(Services(store), tmp_path / "socket") as here:
        yield here
