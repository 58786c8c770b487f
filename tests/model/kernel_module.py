"""`cowshed._kernel`: the compiled one, or, where it is not built, a stand-in made of the naive model.

The stand-in lets everything above the kernel be tested without it; `REAL` says which one it is.
"""

from __future__ import annotations

import sys
from types import ModuleType

__all__ = ["BLOCK_SIZE", "MAX_DISK_SIZE", "REAL", "KernelError", "stand_in"]

try:
    from cowshed._kernel import BLOCK_SIZE, MAX_DISK_SIZE, KernelError

    REAL = True
except ImportError:
    BLOCK_SIZE, MAX_DISK_SIZE = 4096, 1 << 50  # type: ignore[misc]

    class KernelError(Exception):  # type: ignore[no-redef]
        kind: str

    REAL = False


def stand_in() -> None:
    """Put the naive kernel where `cowshed._kernel` would be, unless that is there."""
    if REAL:
        return
    module = ModuleType("cowshed._kernel")
    vars(module).update(BLOCK_SIZE=BLOCK_SIZE, MAX_DISK_SIZE=MAX_DISK_SIZE, KernelError=KernelError)
    sys.modules["cowshed._kernel"] = module
    from model import naive_kernel as naive

    vars(module).update(
        Kernel=naive.NaiveKernel,
        Transaction=naive.NaiveTransaction,
        Disk=naive.NaiveDisk,
        VersionInfo=naive.VersionInfo,
        SpaceInfo=naive.SpaceInfo,
        FORMAT_VERSION=0,
    )
