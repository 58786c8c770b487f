"""Every line of `image_programme.txt` answers as the real module did, on Ceph 16.2.

What that answered is kept in `image_answers.json`; where a cluster is there (COWSHED_TEST_CEPH_CONF), it is
asked again. `python3 tests/compat/image_programme.py CEPH_CONF POOL > tests/compat/image_answers.json` makes
the file anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from compat import image_programme
from compat.pools import Pool, Rbd
from compat.stores import stores
from cowshed.compat.rbd import constants, errors
from cowshed.compat.rbd.image import Image

HERE = Path(__file__).parent
ANSWERS = [tuple(pair) for pair in json.loads((HERE / "image_answers.json").read_text())]


def look_alike() -> ModuleType:
    module = ModuleType("rbd")
    for room in (constants, errors):
        module.__dict__.update({name: value for name, value in vars(room).items() if name[0] != "_"})
    module.__dict__.update(Image=Image, RBD=Rbd)
    return module


def test_the_answers_are_of_this_programme() -> None:
    assert [line for line, _ in ANSWERS] == image_programme.lines()


@pytest.mark.parametrize("way", ["local", "daemon"])
def test_answers_as_the_real_module(tmp_path: Path, way: str) -> None:
    with stores(tmp_path, way) as open_store, open_store() as store:
        answers = image_programme.run(look_alike(), Pool(store))
        assert [got for got, real in zip(answers, ANSWERS, strict=True) if got != real] == []
        assert store.check() == []
        assert list(store.images("rbdimage")) == []


@pytest.mark.skipif(
    "COWSHED_TEST_CEPH_CONF" not in os.environ,
    reason="COWSHED_TEST_CEPH_CONF names no cluster (tests/ceph/cluster starts one)",
)
def test_the_real_module_still_answers_so() -> None:
    conf = os.environ["COWSHED_TEST_CEPH_CONF"]
    asked = subprocess.run(
        ["/usr/bin/python3", str(HERE / "image_programme.py"), conf, "rbdimage"],
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    answers = [tuple(pair) for pair in json.loads(asked.stdout)]
    assert [got for got, real in zip(answers, ANSWERS, strict=True) if got != real] == [], sys.version
