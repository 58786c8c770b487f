"""/dev/rbd/POOL/[NAMESPACE/]IMAGE[@SNAP]: the names that udev gives to devices of Linux's own rbd client.

Programs look there for a device that they had mapped: os-brick reads its name from nowhere else. The link is
the newest mapping's, and goes with it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cowshed.errors import from_os_error
from cowshed.store import ImageSpec, SnapSpec

ROOM = Path("/dev/rbd")


def link_of(spec: ImageSpec | SnapSpec) -> Path | None:
    """Where the link to its device is; None for a name that would lead out of the room."""
    parts = str(spec).split("/")
    return None if {".", ".."} & set(parts) else ROOM.joinpath(*parts)


def make(link: Path, device: str) -> None:
    """Have the link lead to the device, wherever it led before. Raises PermissionDenied, IOFailure."""
    beside = link.with_name(f"{link.name}.{os.getpid()}")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        beside.symlink_to(device)
        beside.replace(link)
    except OSError as error:
        raise from_os_error(error, f"making {link}") from None


def remove(link: Path, device: str) -> None:
    """Take the link away if it leads to this device, and the directories that are empty then."""
    with suppress(OSError):
        if os.readlink(link) != device:  # noqa: PTH115
            return
        link.unlink()
        for folder in link.parents:
            if not folder.is_relative_to(ROOM):
                break
            folder.rmdir()
