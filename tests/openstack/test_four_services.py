"""Glance, Nova, Cinder and Cinder backup at once, each in its process, on one daemon."""

from __future__ import annotations

import importlib.util
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from openstack.cloud import Cloud
from openstack.conftest import Start

SECONDS = float(os.environ.get("COWSHED_TEST_OPENSTACK_SECONDS", "10"))
"""How long they go on. For the long run: 300 and more."""


@pytest.mark.skipif(importlib.util.find_spec("cinder") is None, reason="no cinder here (pip install cinder)")
def test_the_four_services_do_as_they_please(
    start: Start, clone_format: Callable[[int], Path], tmp_path: Path
) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    formats = {number: clone_format(number) for number in (1, 2)}
    services = {
        "glance": start("glance", thin=True),
        "nova": start("nova", eventlet=True),
        "cinder": start("cinder", conf=str(formats[2])),
        "backup": start("cinder", conf=str(formats[2]), eventlet=True),
    }
    cloud = Cloud(services, formats, tmp_path, seed)
    try:
        cloud.run(SECONDS)
    finally:
        for name, done in cloud.done.items():
            print(name, done.total(), json.dumps(done))
    assert all(done.total() for done in cloud.done.values())
