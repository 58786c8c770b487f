"""`kit`: what every guest is made of, or a skip that says what is missing. `scratch`: room for its disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import cowshed
from cowshed.transfer.raw import import_raw
from guest import debian_kernel, file_system, machine
from guest.debian_kernel import GuestKernel
from guest.disk import make_disk, make_initramfs
from guest.records import Tree
from model.kernel_module import REAL

DISK_SIZE = 96 << 20


@dataclass(frozen=True)
class Kit:
    """A directory with a store in it, whose clone `rbd/guest` no guest has booted from yet."""

    work: Path
    """Its path is short enough for sockets."""
    kernel: GuestKernel
    initramfs: Path
    files: Tree
    """What is on the disk."""

    @property
    def store(self) -> Path:
        return self.work / "store"

    @property
    def socket(self) -> Path:
        return self.work / "nbd"

    def boot(self, session: int, **options: bool) -> machine.Machine:
        return machine.Machine(
            self.work, self.kernel, self.initramfs, self.socket, "rbd/guest", session, **options
        )


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory, in memory where there is room: e2fsck and umount sync what is thrown away then."""
    memory = Path("/dev/shm")
    room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 * DISK_SIZE
    with tempfile.TemporaryDirectory(prefix="cowshed-guest-", dir=memory if room else None) as place:
        yield Path(place)


@pytest.fixture(scope="module")
def kit() -> Iterator[Kit]:
    if not REAL:
        pytest.skip("cowshed._kernel is not built")
    if missing := [*machine.missing(), *file_system.missing_tools()]:
        pytest.skip(f"not here: {', '.join(missing)}")
    try:
        kernel = debian_kernel.find()
    except debian_kernel.Unavailable as error:
        pytest.skip(str(error))
    busybox = Path(shutil.which("busybox") or "")
    with tempfile.TemporaryDirectory(prefix="cowshed-guest-") as place:
        work = Path(place)
        make_initramfs(work / "initramfs", kernel, busybox)
        files = make_disk(work / "root", busybox, DISK_SIZE)
        with cowshed.open(work / "store", create=True) as store, (work / "root").open("rb") as image:
            import_raw(store, "rbd/base", image)
            store.create_snapshot("rbd/base@golden")
            store.clone("rbd/base@golden", "rbd/guest")
        yield Kit(work, kernel, work / "initramfs", files)
