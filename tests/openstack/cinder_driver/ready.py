"""Makes this process one in which Cinder's drivers can be built; before any of them is imported."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

RECORD = "COWSHED_TEST_RECORD"
"""Names a file that gets a line for each call of `rbd` and `rados` and each program that is started."""


def make_ready(state: Path, eventlet: bool = False) -> None:
    """`state` takes what Cinder writes of its own; with `eventlet` it uses green threads, as services do."""
    with warnings.catch_warnings():
        # OpenStack's libraries warn of each other.
        warnings.simplefilter("ignore")
        import cinder

        if eventlet:
            from cinder import monkey_patch

            monkey_patch.patch()
        if path := os.environ.get(RECORD):
            from openstack.harness import recording

            recording.begin(path, "cinder")
        from cinder import privsep
        from oslo_config import cfg

        import openstack.cinder_driver.service  # noqa: F401 - it registers the drivers' options

    assert cinder
    # What asks for privileges has those of the tests, without a helper of root's.
    privsep.sys_admin_pctxt.set_client_mode(False)
    cfg.CONF([], project="cinder", default_config_files=[], default_config_dirs=[])
    cfg.CONF.set_override("state_path", str(state))
