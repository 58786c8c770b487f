"""`store`: an empty store of each engine in turn; `engine`: where it can be opened again.

Whatever a test did, the store must pass its own check at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from behaviour.engines import ENGINES, Engine
from cowshed.errors import Closed
from cowshed.store import Store


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    kind = ENGINES[request.param]
    if kind.missing:
        pytest.skip(kind.missing)
    made = kind(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def store(engine: Engine) -> Iterator[Store]:
    with engine.open() as store:
        yield store
        try:
            assert store.check() == []
        except Closed:
            return
