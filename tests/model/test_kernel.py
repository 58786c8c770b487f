"""The kernel against the naive one, in random programmes. Set COWSHED_SEED to repeat one."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from model.kernel_module import REAL
from model.naive_kernel import NaiveKernel
from model.programme import Programme

ROUNDS = int(os.environ.get("COWSHED_ROUNDS", "10"))


def seed_of(round_: int) -> int:
    given = os.environ.get("COWSHED_SEED")
    seed = int(given) if given else random.randrange(1 << 32)
    print(f"round {round_}: COWSHED_SEED={seed}")
    return seed


def run(seed: int, room: Path, create: Any, open_: Any, steps: int) -> None:
    programme = Programme(seed, room, create, open_)
    try:
        programme.run(steps)
    finally:
        programme.close()


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_the_kernel(tmp_path: Path, round_: int, background: bool) -> None:
    if not REAL:
        pytest.skip("cowshed._kernel is not built")
    from cowshed._kernel import Kernel

    cache = random.Random(round_).choice([0, 100_000, 64 << 20])
    run(
        seed_of(round_),
        tmp_path,
        Kernel.create,
        lambda path: Kernel.open(path, background=background, cache_bytes=cache),
        300,
    )


@pytest.mark.parametrize("round_", range(3))
def test_the_programme_itself(tmp_path: Path, round_: int) -> None:
    """Two naive kernels agree: so the programme asks for nothing that cannot be."""
    run(
        seed_of(round_),
        tmp_path,
        lambda path: NaiveKernel.create(str(path)),
        lambda path: NaiveKernel.open(str(path)),
        200,
    )
