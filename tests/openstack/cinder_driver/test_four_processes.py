"""Four processes on one site, as cinder-volume and cinder-backup are: nobody's content suffers."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

from openstack.cinder_driver.conftest import tool
from openstack.cinder_driver.site import Site

SECONDS = float(os.environ.get("COWSHED_TEST_OPENSTACK_SECONDS", "10"))
"""How long each goes on."""
PROCESSES = (("threads", 1), ("threads", 2), ("eventlet", 1), ("eventlet", 2))
"""How each waits, and the format of the clones that it makes."""
PATIENCE = 600.0
"""Seconds that the slowest operation and the removal of everything may take beyond that."""


def test_four_processes_do_as_they_please(site: Site, tmp_path: Path) -> None:
    tool("rbd", "ceph-common")
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    environment = {**os.environ, **site.environment(), "TMPDIR": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    processes = []
    try:
        for number, (mode, clone_format) in enumerate(PROCESSES):
            state = tmp_path / f"state{number}"
            state.mkdir()
            conf = site.with_options(state / "ceph.conf", {"rbd_default_clone_format": str(clone_format)})
            words = [conf, site.conf.parent, state, seed + number, SECONDS, mode]
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "openstack.cinder_driver.worker", *map(str, words)],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=(tmp_path / f"err{number}").open("w"),
                    text=True,
                )
            )
        for number, process in enumerate(processes):
            said, _ = process.communicate(timeout=SECONDS + PATIENCE)
            complaint = (tmp_path / f"err{number}").read_text()
            assert process.returncode == 0, f"process {number}: {complaint[-4000:]}"
            done = json.loads(said.splitlines()[-1])
            print(f"process {number}: {done}")
            assert done
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.communicate()
