"""The machine that the figures are of."""

from __future__ import annotations

import datetime
import os
import platform
import time
from pathlib import Path

import cowshed


def describe(directory: Path, *, quick: bool) -> list[tuple[str, str]]:
    """What a reader needs to know of the machine and of this run."""
    device, kind, options = _mount_of(directory)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    now = datetime.datetime.now().astimezone()
    return [
        ("date", now.isoformat(timespec="minutes")),
        ("cowshed", cowshed.__version__),
        ("kernel module", _module()),
        ("CPU", f"{_cpu()}, {len(os.sched_getaffinity(0))} for us"),
        ("memory", f"{memory:.0f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("file system", f"{kind} on {device} ({options})"),
        ("Python", platform.python_version()),
        ("load at the start", load()),
        ("sizes", "quick: only to try that it runs" if quick else "full"),
    ]


def load() -> str:
    """How busy the machine was in the last 1, 5 and 15 minutes."""
    return ", ".join(f"{value:.1f}" for value in os.getloadavg())


def warnings(directory: Path, room: int) -> list[str]:
    """What would make the figures worthless."""
    found = []
    busy = os.getloadavg()[0]
    if busy > 0.5:
        found.append(
            f"the machine is busy (load {busy:.1f}): where processors are contended, all that waits for a"
            " disk waits for a tick, and ratios of short things come out near 1; measure when it is quiet"
        )
    if _mount_of(directory)[1] in ("tmpfs", "ramfs"):
        found.append(f"{directory} lies in memory, where a sync costs nothing; give --dir on a disk")
    state = os.statvfs(directory)
    free = state.f_bavail * state.f_frsize
    if free < room:
        found.append(f"{free >> 30} GiB are free in {directory}; this needs about {room >> 30} GiB")
    return found


def _module() -> str:
    """Which build is measured; one for debugging is several times as large, and slow."""
    from cowshed import _kernel

    state = Path(str(_kernel.__file__)).stat()
    built = time.strftime("%Y-%m-%d %H:%M", time.localtime(state.st_mtime))
    return f"{state.st_size / 1e6:.1f} MB, built {built}"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _mount_of(directory: Path) -> tuple[str, str, str]:
    """Device, kind and options of the file system that a directory lies in."""
    wanted = directory.stat().st_dev
    number = f"{os.major(wanted)}:{os.minor(wanted)}"
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        mount, _, source = line.partition(" - ")
        fields = mount.split()
        if fields[2] == number:
            kind, device, more = source.split(" ", 2)
            return device, kind, ",".join(dict.fromkeys(f"{fields[5]},{more}".split(",")))
    return "?", "?", "?"
