"""What a process holds, to see that all of it comes back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

DEADLINE = 30.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something, and fail when it takes too long."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.002)


def held() -> Counter[str]:
    """How many threads, and how many open descriptors of each kind or file.

    Threads of all names are one: a thread takes its name itself, some moments after it began.
    """
    return Counter(["thread"] * len(_threads()) + _descriptors())


def until_no_more_is_held(before: Counter[str]) -> None:
    """Wait until nothing is held that was not `before`; fails with what is."""
    deadline = time.monotonic() + DEADLINE
    while more := held() - before:
        assert time.monotonic() < deadline, f"held in vain: {dict(more)}; threads: {_threads()}"
        time.sleep(0.002)


def _descriptors() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()).partition(":")[0])
        except FileNotFoundError:
            continue  # the one that reads the directory
    return found


def _threads() -> list[str]:
    """Without those of the pool: they end when they have had nothing to do for a while."""
    found = []
    for thread in Path("/proc/self/task").iterdir():
        try:
            found.append((thread / "comm").read_text().strip())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [name for name in found if name != "cowshed-nbd-io"]


def resident() -> int:
    """Bytes of memory in use that belong to no file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no RssAnon in /proc/self/status")
