"""Mapping an image to a block device of this host, taking it back, and listing what is mapped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cowshed import errors
from cowshed.attach import PATIENCE, kernel_nbd, links, loop
from cowshed.attach.mapper import FILE, Task, told
from cowshed.attach.register import Mapping, Register, Slot
from cowshed.attach.server import Server
from cowshed.errors import Busy, CowshedError, InvalidArgument, NotFound, PermissionDenied
from cowshed.remote.endpoint import TcpEndpoint
from cowshed.store import ImageSpec, SnapSpec

_END_SECONDS = 10.0
"""How long an unmap waits for the device to be let go."""


def map_image(
    spec: ImageSpec | SnapSpec,
    server: Server | TcpEndpoint,
    *,
    read_only: bool = False,
    device_type: str = "auto",
    patience: float = PATIENCE,
    link: bool = False,
) -> Mapping:
    """Make a block device of an image or a snapshot. A snapshot's is read-only in any case.

    `server` shows the image by its name; or it is a daemon's address, where this client opens the image and
    alone is shown it. `link` gives the device a name in /dev/rbd as well.

    When the server goes away, requests wait for it, `patience` seconds at most; then they fail, and all later
    ones. (Not with Linux's own NBD client: there they fail at once.)

    Raises NotFound where there is no such image or no way to make a device, PermissionDenied, IOFailure,
    InvalidArgument for a way that is not built.
    """
    if device_type == "ublk":
        raise InvalidArgument(
            "mapping through ublk is not built", hint="`--device-type fuse` works without any module"
        )
    if os.geteuid() != 0:
        raise PermissionDenied(
            "only root may make block devices",
            hint="`--print qemu` tells a virtual machine how to do without",
        )
    read_only = read_only or isinstance(spec, SnapSpec)
    image = spec.image_spec if isinstance(spec, SnapSpec) else spec
    kind = _kind(device_type, named=isinstance(server, Server))
    register = Register()
    with register.held():
        _clear(register)
        slot, lock = register.add()
    wanted = Mapping(
        id=slot.id,
        pool=image.pool,
        namespace=image.namespace,
        image=image.image,
        snapshot=spec.snapshot if isinstance(spec, SnapSpec) else "",
        device="",
        kind=kind,
        read_only=read_only,
        server=server.address if isinstance(server, Server) else server.target,
        pid=0,
        since=time.time(),
        link=str((links.link_of(spec) if link else None) or ""),
    )
    try:
        if isinstance(server, TcpEndpoint) or kind == "fuse":
            _start(register, slot, wanted, server, patience, lock)
        else:
            _connect(slot, wanted, server)
    except BaseException:
        os.close(lock)
        # The process has said what went wrong, and may not be quite gone.
        slot.ended(_END_SECONDS)
        with register.held():
            _clear(register)
        raise
    os.close(lock)
    made = slot.record()
    if made is None:
        raise CowshedError(f"the mapping of '{spec}' ended as soon as it was made", hint="map it again")
    if made.link:
        try:
            links.make(Path(made.link), made.device)
        except CowshedError:
            unmap(made.device)
            raise
    return made


def _kind(device_type: str, *, named: bool) -> str:
    """`nbd` or `fuse`: what was asked for, or what there is. Raises NotFound, InvalidArgument.

    An image that the daemon shows to one client alone has a secret name, which nbd-client would tell to
    everybody who lists processes.
    """
    if device_type == "nbd" and not named:
        raise InvalidArgument(
            "Linux's own NBD client cannot map by a key",
            hint="`--device-type fuse` can; or name the server by --nbd",
        )
    if device_type != "fuse" and named:
        missing = kernel_nbd.missing()
        if missing is None:
            return "nbd"
        if device_type == "nbd":
            raise missing
    for node, module in (("/dev/fuse", "fuse"), ("/dev/loop-control", "loop")):
        if not Path(node).exists():
            raise NotFound(f"there is no {node} here", hint=f"the module `{module}` makes it")
    return "fuse"


def _connect(slot: Slot, wanted: Mapping, server: Server) -> None:
    device = kernel_nbd.attach(str(wanted.spec), server, read_only=wanted.read_only)
    slot.write(replace(wanted, device=device, pid=kernel_nbd.connected(device)))


def _start(
    register: Register,
    slot: Slot,
    wanted: Mapping,
    server: Server | TcpEndpoint,
    patience: float,
    lock: int,
) -> None:
    """Start the process that serves it, and wait until the device is there."""
    answers, report = os.pipe()
    tls, endpoint = (server.tls, None) if isinstance(server, Server) else ("", told(server))
    task = Task(slot.id, str(register.room), asdict(wanted), tls, endpoint, patience, lock, report)
    package = str(Path(errors.__file__).parent.parent)
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "cowshed.attach.mapper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, "PYTHONPATH": path},
            pass_fds=(lock, report),
            start_new_session=True,
        )
    finally:
        os.close(report)
    assert process.stdin
    # Not among its words, which everybody may read: there may be a token in it.
    with suppress(BrokenPipeError), process.stdin as pipe:
        pipe.write(json.dumps(asdict(task)).encode())
    with open(answers, "rb") as pipe:  # noqa: PTH123
        said = pipe.read()
    process.wait()
    answer: dict[str, Any] = json.loads(said) if said else {}
    if "device" not in answer:
        cls = getattr(errors, answer.get("class", ""), CowshedError)
        raise cls(answer.get("message", "the process for it ended without a word"), hint=answer.get("hint"))


def unmap(
    what: ImageSpec | SnapSpec | str, *, force: bool = False, device_type: str = "auto"
) -> list[Mapping]:
    """Take back the mapping of a device (its path), or of an image or snapshot.

    Returns all mappings that were meant; the first of them has ended, and what was written is durable.
    `force` takes it back though it is in use: what is not written yet is lost.

    Raises InvalidArgument when it is not mapped, Busy when it is in use, PermissionDenied.
    """
    if isinstance(what, str):
        # It may be given by a link, as in /dev/disk.
        what = os.path.realpath(what)
    meant = [entry for entry in mapped(device_type) if what in (entry[1].device, entry[1].spec)]
    if not meant:
        raise InvalidArgument(f"'{what}' is not mapped", hint="`cowshed showmapped` lists what is")
    slot, mapping = meant[0]
    if os.geteuid() != 0:
        raise PermissionDenied("only root may unmap", hint="run it as root")
    if not force and loop.in_use(mapping.device):
        raise Busy(
            f"{mapping.device} ({mapping.spec}) is in use",
            hint="unmount what is on it first, or give --force",
        )
    if mapping.kind == "nbd":
        kernel_nbd.detach(mapping.device)
    else:
        with suppress(ProcessLookupError):
            os.kill(mapping.pid, signal.SIGKILL if force else signal.SIGTERM)
    if not slot.ended(_END_SECONDS):
        raise Busy(
            f"{mapping.device} ({mapping.spec}) is still open somewhere, or waits for its daemon; "
            "it is unmapped when that ends",
            hint="--force does not wait for it",
        )
    register = Register()
    with register.held():
        _clear(register)
    return [mapping for _, mapping in meant]


def mapped(device_type: str = "auto") -> list[tuple[Slot, Mapping]]:
    """What is mapped on this host, by id; `auto` means all kinds. Clears away what is stale, if it may."""
    register = Register()
    if not register.slots():
        return []
    with suppress(PermissionDenied), register.held():
        _clear(register)
    found = ((slot, slot.record()) for slot in register.slots() if not _stale(slot))
    kinds = ("fuse", "nbd") if device_type == "auto" else (device_type,)
    return [(slot, record) for slot, record in found if record is not None and record.kind in kinds]


def _stale(slot: Slot) -> bool:
    if slot.served():
        return False
    record = slot.record()
    return record is None or record.kind != "nbd" or kernel_nbd.connected(record.device) != record.pid


def _clear(register: Register) -> None:
    """Take away the rests of mappings that nobody serves any more. Within `held`."""
    for slot in register.slots():
        if not _stale(slot):
            continue
        with suppress(CowshedError):
            for device in loop.of_file(str(slot.mount / FILE)):
                loop.detach(device)
            loop.unmount(slot.mount)
            slot.remove()
