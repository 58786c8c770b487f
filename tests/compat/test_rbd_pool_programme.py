"""Calls on pools answer as the real module's: line by line as recorded from a cluster, and from one anew."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cowshed
from behaviour.engines import ENGINES, Engine
from compat import pool_programme
from compat.places import StorePlace

HERE = Path(__file__).parent
RECORDED = HERE / "pool_programme.txt"

# Where this face answers otherwise on purpose: in which part, what, and why.
DIFFERENT = {
    "moving": {
        # librbd tells the source's pool for the target's.
        "status => {'source_pool_id': 'a', 'source_pool_namespace': '', 'source_image_name': 'i',"
        " 'source_image_id': 'some', 'dest_pool_id': 'b', 'dest_pool_namespace': '', 'dest_image_name': 'j',"
        f" 'dest_image_id': 'some', 'state': {state}, 'state_description': ''}}"
        for state in (2, 4)
    },
    "settings": {
        # The real iterator loses pairs.
        "metadata => [('b', ''), ('k/1', 'välue')]",
    },
}


@pytest.fixture(params=["local", "remote"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    kind = ENGINES[request.param]
    if kind.missing:
        pytest.skip(kind.missing)
    made = kind(tmp_path)
    yield made
    made.stop()


def differing(found: list[str], expected: list[str]) -> list[str]:
    """The lines that differ, but for those that are to."""
    part, wrong = "", []
    for ours, real in zip(found, expected, strict=True):
        if ours.startswith("# "):
            part = ours[2:]
        if ours != real and ours not in DIFFERENT.get(part, set()):
            wrong.append(f"{part}:\n  here {ours}\n  real {real}")
    return wrong


def test_answers_as_a_cluster_did(engine: Engine) -> None:
    with engine.open() as store:
        found = pool_programme.Programme(StorePlace(store, pool_programme.POOLS)).run()
        assert store.check() == []
    assert "\n".join(differing(found, RECORDED.read_text().splitlines())) == ""


def test_a_program_written_for_a_cluster_runs_unchanged(engine: Engine, tmp_path: Path) -> None:
    """The same file on both of cowshed's modules under their own names, found from ceph.conf alone."""
    engine.open().close()
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\ncowshed = {engine.path}\n")
    package = Path(cowshed.__file__).parent
    path = os.pathsep.join([str(package / "compat" / "modules"), str(package.parent)])
    found = subprocess.run(
        [sys.executable, pool_programme.__file__, conf],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert "\n".join(differing(found.stdout.splitlines(), RECORDED.read_text().splitlines())) == ""


def test_a_cluster_still_answers_so() -> None:
    conf = os.environ.get("COWSHED_TEST_CEPH_CONF")
    if not conf:
        pytest.skip("COWSHED_TEST_CEPH_CONF names no cluster")
    command = ["/usr/bin/python3", pool_programme.__file__, conf]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    assert said == RECORDED.read_text()
