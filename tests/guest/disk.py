"""What a guest starts from: an initramfs, and a root file system for its disk."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from guest import file_system
from guest.debian_kernel import GuestKernel
from guest.records import Tree

INSIDE = Path(__file__).with_name("inside")
PROGRAMS = ["work", "log", "ring", "names", "churn"]
PLACES = ["proc", "sys", "dev", "run", "records", "names", "churn"]
KEPT = ["bin", "sbin", "records", "names"]
"""Where the files are of which it is known what they hold."""


def make_initramfs(path: Path, kernel: GuestKernel, busybox: Path) -> None:
    """The modules, and inside/boot, which goes on to /sbin/work on the disk."""
    archive = Archive()
    for place in ("bin", "dev", "proc", "sys", "disk", "modules"):
        archive.add(place, stat.S_IFDIR | 0o755)
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes())
    archive.add("init", stat.S_IFREG | 0o755, (INSIDE / "boot").read_bytes())
    for module in kernel.modules:
        archive.add(f"modules/{module.name}", stat.S_IFREG | 0o644, module.read_bytes())
    path.write_bytes(archive.finished())


def make_disk(path: Path, busybox: Path, size: int) -> Tree:
    """A root file system in an image file of `size` bytes; its files."""
    tree = path.with_suffix(".tree")
    for place in ("bin", "sbin", *PLACES):
        (tree / place).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin" / "busybox")
    for program in PROGRAMS:
        shutil.copy(INSIDE / program, tree / "sbin" / program)
    file_system.make(path, tree, size)
    return file_system.files_below(tree, KEPT)


class Archive:
    """A cpio archive in the format that the kernel takes for an initramfs ("newc")."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._entries = 0

    def add(self, path: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._entries += 1
        name = path.encode() + b"\0"
        # Inode, mode, owner, group, links, time, size, where it lies, device it is, length of its name, sum.
        fields = [self._entries, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0]
        self._data += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        self._align()
        self._data += data
        self._align()

    def finished(self) -> bytes:
        self.add("TRAILER!!!", 0)
        return bytes(self._data)

    def _align(self) -> None:
        self._data += bytes(-len(self._data) % 4)
