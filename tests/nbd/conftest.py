"""`served`: a new store that is served; `way`: how clients come to it, for each way that there is."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.kernel_module import REAL
from nbd.identities import Identities, identities
from nbd.serving import Served, Way
from nbd.serving import served as serving


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Identities:
    return identities(tmp_path_factory.mktemp("identities"))


@pytest.fixture
def served(tmp_path: Path, keys: Identities) -> Iterator[Served]:
    if not REAL:
        pytest.skip("cowshed._kernel is not built")
    with serving(tmp_path / "store", tmp_path / "socket", keys) as here:
        yield here
        assert here.names.faults == []


@pytest.fixture(params=["unix", "tcp", "tls"])
def way(request: pytest.FixtureRequest, served: Served) -> Way:
    return served.ways[request.param]


@pytest.fixture
def rng() -> random.Random:
    seed = os.environ.get("COWSHED_SEED") or str(random.randrange(1 << 32))
    print(f"COWSHED_SEED={seed}")
    return random.Random(seed)
