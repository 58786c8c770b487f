"""Linux's own NBD client, set up by the program `nbd-client`: no process of ours serves the block device."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cowshed.attach.loop import run, tool
from cowshed.attach.server import LONGEST_SOCKET, Server, tls_files
from cowshed.errors import Busy, CowshedError, InvalidArgument, NotFound

_BLOCKS = Path("/sys/block")
_PACKAGE = "nbd-client"


def missing() -> CowshedError | None:
    """Why it cannot be used here, None if it can. Loads the module where it is not loaded."""
    if not _devices():
        with suppress(CowshedError):
            run(tool("modprobe", "kmod"), "--quiet", "nbd")
    if not _devices():
        return NotFound("this Linux has no NBD devices", hint="the module `nbd` makes them; fuse needs none")
    try:
        tool("nbd-client", _PACKAGE)
    except NotFound as error:
        return error
    return None


def _devices() -> list[str]:
    """All of them, in their order."""
    numbers = (entry.name.removeprefix("nbd") for entry in _BLOCKS.glob("nbd*"))
    return [f"/dev/nbd{number}" for number in sorted(int(number) for number in numbers if number.isdecimal())]


def connected(device: str) -> int:
    """The process that connected a device, as Linux has it; 0 when it is not connected."""
    with suppress(OSError, ValueError):
        return int((_BLOCKS / os.path.basename(device) / "pid").read_text())  # noqa: PTH119
    return 0


def arguments(export: str, server: Server, device: str, *, read_only: bool) -> list[str]:
    """The words of `nbd-client` that connect a device. Raises InvalidArgument, NotFound."""
    if len(server.path.encode()) > LONGEST_SOCKET:
        raise InvalidArgument(
            f"nbd-client takes a socket's path of {LONGEST_SOCKET} bytes, and {server.path} is longer",
            hint="--device-type fuse takes it",
        )
    place = ["-unix", server.path, device] if server.path else [server.host, str(server.port), device]
    words = [*place, "-name", export]
    if read_only:
        words.append("-readonly")
    if files := tls_files(server):
        words += ["-enable-tls", "-tlshostname", server.host, "-cacertfile", files.ca]
        if files.certificate and files.key:
            words += ["-certfile", files.certificate, "-keyfile", files.key]
    return words


def attach(export: str, server: Server, *, read_only: bool) -> str:
    """Connect the first free device and return its path.

    Raises Busy when none is free, IOFailure, NotFound.
    """
    client = tool("nbd-client", _PACKAGE)
    failed: CowshedError = Busy("all NBD devices are in use", hint="`modprobe nbd nbds_max=64` makes more")
    for device in _devices():
        if connected(device):
            continue
        try:
            run(client, *arguments(export, server, device, read_only=read_only))
        except CowshedError as error:
            failed = error
            # Somebody else was quicker: then it is the next one's turn.
            if connected(device):
                continue
            raise
        return device
    raise failed


def detach(device: str) -> None:
    """Disconnect a device. Raises IOFailure."""
    run(tool("nbd-client", _PACKAGE), "-d", device)
