"""The module `rados` answers as the real one: each line of a session as recorded from a cluster, and anew."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from behaviour.engines import ENGINES, Engine
from compat import session
from cowshed.compat import rados

RECORDED = Path(__file__).with_name("rados.session")

# Where this face answers otherwise on purpose.
DIFFERENT = {
    # The real WriteOp.zero takes its arguments in the wrong order: it zeroes 2 bytes at 3.
    "io.read('cc'), list(io.get_xattrs('cc'))": "(b'01\\x00\\x00\\x0056', [])",
}


@pytest.fixture(params=["local", "remote"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    kind = ENGINES[request.param]
    if kind.missing:
        pytest.skip(kind.missing)
    made = kind(tmp_path)
    yield made
    made.stop()


def test_answers_as_a_cluster_did(engine: Engine, tmp_path: Path) -> None:
    engine.open().close()
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\ncowshed = {engine.path}\n")
    expected = [(line, DIFFERENT.get(line, answer)) for line, answer in session.read(RECORDED)]
    found = session.run([line for line, _ in expected], {"rados": rados, "CONF": str(conf)})
    assert session.show(found) == session.show(expected)
    with engine.open() as store:
        assert store.check() == []


def test_a_cluster_still_answers_so() -> None:
    conf = os.environ.get("COWSHED_TEST_CEPH_CONF")
    if not conf:
        pytest.skip("COWSHED_TEST_CEPH_CONF names no cluster")
    command = ["/usr/bin/python3", session.__file__, "rados", str(RECORDED), conf]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    assert said == RECORDED.read_text()
