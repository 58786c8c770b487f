"""A Linux kernel for guests: Debian's cloud kernel, fetched with apt and kept for the next run.

Kept are the kernel and the modules that a guest on virtio needs, under COWSHED_TEST_CACHE or
~/.cache/cowshed-tests. Nothing is installed, and root is not needed.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "linux-image-cloud-amd64"
"""Depends on the package of the newest kernel."""
WANTED = ["virtio_pci", "virtio_blk", "virtio_console", "ext4"]


class Unavailable(Exception):
    """There is no kernel to be had here; the text says why."""


@dataclass(frozen=True)
class GuestKernel:
    vmlinuz: Path
    modules: list[Path]
    """In the order in which they can be loaded."""


def find() -> GuestKernel:
    """The kernel that was kept, or else the one that apt has. Raises Unavailable."""
    places = sorted(_cache().glob("linux-image-*/vmlinuz"), key=lambda path: path.stat().st_mtime)
    place = places[-1].parent if places else _fetch()
    return GuestKernel(place / "vmlinuz", sorted((place / "modules").iterdir()))


def _cache() -> Path:
    cache = os.environ.get("COWSHED_TEST_CACHE")
    return Path(cache) if cache else Path.home() / ".cache" / "cowshed-tests"


def _fetch() -> Path:
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unavailable(f"no kernel for a guest: {tool} is missing, which would fetch {PACKAGE}")
    said = _run("apt-cache", "depends", PACKAGE)
    name = re.search(r"Depends: (linux-image-\S+)", said)
    if not name:
        raise Unavailable(f"no kernel for a guest: apt does not know {PACKAGE} (apt-get update?)")
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    # Complete under its name or not there at all, whatever else runs at the same time.
    with tempfile.TemporaryDirectory(dir=cache) as work:
        _run("apt-get", "-qq", "download", name[1], where=work)
        (package,) = Path(work).glob("*.deb")
        _run("dpkg-deb", "-x", str(package), f"{work}/unpacked")
        made = Path(work, "made")
        _take(Path(work, "unpacked"), made)
        place = cache / name[1]
        try:
            made.rename(place)
        except OSError:
            if not place.exists():
                raise
    return place


def _take(unpacked: Path, place: Path) -> None:
    """Copy the kernel and the modules WANTED, with those that they need, out of an unpacked package."""
    (place / "modules").mkdir(parents=True)
    (vmlinuz,) = (unpacked / "boot").glob("vmlinuz-*")
    shutil.copy(vmlinuz, place / "vmlinuz")
    (libraries,) = unpacked.glob("**/lib/modules/*")
    files = {path.name.partition(".")[0].replace("-", "_"): path for path in libraries.rglob("*.ko*")}
    builtin = {
        Path(line).stem.replace("-", "_") for line in (libraries / "modules.builtin").read_text().split()
    }
    order: list[str] = []

    def take(name: str) -> None:
        if name in order or name in builtin:
            return
        if name not in files:
            raise Unavailable(f"{vmlinuz.name} has no module {name}")
        data = _module(files[name])
        needs = re.search(rb"\0depends=([^\0]*)", data)
        for need in needs[1].decode().split(",") if needs else []:
            if need:
                take(need.replace("-", "_"))
        (place / "modules" / f"{len(order):02}-{name}.ko").write_bytes(data)
        order.append(name)

    for name in WANTED:
        take(name)


def _module(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix != ".ko":
        raise Unavailable(f"{path.name} is compressed in a way not known here")
    return path.read_bytes()


def _run(*command: str, where: str | None = None) -> str:
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise Unavailable(f"no kernel for a guest: {' '.join(command[:2])}: {done.stderr.strip()}")
    return done.stdout
