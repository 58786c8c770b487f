"""Where the drivers store: what they are given of a cluster, or of what looks like one."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """One cluster, as its clients see it."""

    name: str
    """`ceph` or `cowshed`."""
    conf: Path
    """The ceph.conf."""
    modules: Path
    """A directory with the modules `rbd` and `rados`, and nothing else."""
    programs: Path | None
    """A directory with the programs `rbd`, `ceph` and `qemu-img`; None where they are on PATH."""
    keyrings: Path
    """The directory with `ceph.client.USER.keyring`, which would be /etc/ceph."""
    python: Path | None = None
    """What the modules themselves import from, if it is not installed."""
    store: Path | None = None
    """Of cowshed's: where it is."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a service on this target."""
        found = dict(os.environ)
        paths = [str(self.modules)] + ([str(self.python)] if self.python else [])
        found["PYTHONPATH"] = os.pathsep.join(paths)
        if self.programs:
            found["PATH"] = os.pathsep.join([str(self.programs), found.get("PATH", os.defpath)])
        # As where they are installed: the `python3` on PATH may be a script that looks for one.
        found.setdefault("COWSHED_PYTHON", sys.executable)
        found.pop("CEPH_CONF", None)
        found.pop("CEPH_ARGS", None)
        return found
