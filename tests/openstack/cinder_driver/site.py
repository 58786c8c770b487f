"""What a test runs against: a cluster, or a cowshed store that looks like one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Site:
    """A cluster with the pools of `pools.OWNERS`, whose users have a keyring beside its conf."""

    conf: Path
    modules: Path
    """The folder with `rbd` and `rados`."""
    programs: Path | None = None
    """The folder with `rbd`, `ceph` and `qemu-img`, where they are not the ones on PATH."""
    python: Path | None = None
    """What the modules and programs themselves import from."""
    store: Path | None = None
    """The cowshed store; None on a real cluster."""

    def keyring(self, user: str) -> Path:
        return self.conf.parent / f"ceph.client.{user}.keyring"

    def environment(self) -> dict[str, str]:
        """What is other in the environment of processes that use this site."""
        path = [str(self.programs)] if self.programs else []
        python = [str(self.modules), str(TESTS), *([str(self.python)] if self.python else [])]
        return {
            "PATH": os.pathsep.join([*path, os.environ.get("PATH", os.defpath)]),
            "PYTHONPATH": os.pathsep.join(python),
        }

    def with_options(self, target: Path, options: dict[str, str]) -> Path:
        """A conf at `target` that is this site's, and has `options` for every client."""
        lines = [f"{name} = {value}" for name, value in options.items()]
        target.write_text("\n".join([self.conf.read_text(), "[client]", *lines, ""]))
        return target

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This process uses the site, and what it starts does."""
        before = dict(os.environ)
        sys.path.insert(0, str(self.modules))
        os.environ.update(self.environment())
        try:
            yield
        finally:
            sys.path.remove(str(self.modules))
            os.environ.clear()
            os.environ.update(before)
