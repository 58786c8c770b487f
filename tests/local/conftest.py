"""`store`: an empty local store, on the real kernel where that is built, else on the naive one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import cowshed
from cowshed.local import LocalStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(path: Path) -> Iterator[LocalStore]:
    with cowshed.open(path, create=True) as store:
        assert isinstance(store, LocalStore)
        yield store
