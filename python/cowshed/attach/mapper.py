"""The process behind a mapping: NBD's client, a file system with the one file, and a loop device over it.

    python -m cowshed.attach.mapper

`devices` starts it and writes the task to its stdin, as JSON. It goes to the background, says on a pipe what
became of it, and serves until it is told to end (SIGTERM) or its file system is unmounted. When the loop
device is still open then, it serves on until that is closed.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cowshed.attach import loop
from cowshed.attach.register import Mapping, Slot
from cowshed.attach.server import parse_server, tls_files
from cowshed.errors import CowshedError
from cowshed.remote.endpoint import TcpEndpoint

if TYPE_CHECKING:
    from cowshed._kernel import NbdClient

FILE = "disk"
_ENDS = {signal.SIGTERM, signal.SIGINT}
_UNMOUNTED = signal.SIGUSR1
_PR_SET_IO_FLUSHER = 57


@dataclass(frozen=True, slots=True)
class Task:
    """What to do, and the descriptors that come with it."""

    slot: int
    room: str
    mapping: dict[str, Any]
    """A Mapping without what is known only when it is done."""
    tls: str
    endpoint: dict[str, Any] | None
    """The daemon that the image is opened at, as `told` has it; None: its server shows it by its name."""
    patience: float
    """Seconds that requests wait for a server that has gone away."""
    lock: int
    report: int


def told(endpoint: TcpEndpoint) -> dict[str, Any]:
    """An endpoint in JSON's kinds. Files in it are named from the root."""
    files = {
        name: os.path.abspath(path)  # noqa: PTH100
        for name in ("ca", "certificate", "key")
        if (path := getattr(endpoint, name))
    }
    fingerprint = endpoint.fingerprint.hex() if endpoint.fingerprint else None
    return asdict(endpoint) | files | {"fingerprint": fingerprint}


def main() -> None:
    """Serve one mapping in the background. What goes wrong is told to whoever waits at the pipe."""
    task = Task(**json.load(sys.stdin))
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    # Blocked before there are threads, so that none of them has its own way with them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDS, _UNMOUNTED})
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _spare_from_memory_pressure()
    slot = Slot(task.slot, Path(task.room) / str(task.slot))
    try:
        _serve(slot, Mapping(**task.mapping), task)
    except CowshedError as error:
        _report(task, {"class": type(error).__name__, "message": error.message, "hint": error.hint})
    except BaseException as error:
        words = f"this is a mistake in cowshed: {type(error).__name__}: {error}"
        _report(task, {"class": "CowshedError", "message": words, "hint": None})


def _report(task: Task, answer: dict[str, Any]) -> None:
    with suppress(OSError):
        os.write(task.report, json.dumps(answer).encode())
        os.close(task.report)


def _spare_from_memory_pressure() -> None:
    """Tell Linux that memory is freed by writing through this process: it must not wait for that itself."""
    ctypes.CDLL(None).prctl(_PR_SET_IO_FLUSHER, 1, 0, 0, 0)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-1000")


def _serve(slot: Slot, mapping: Mapping, task: Task) -> None:
    from cowshed._kernel import FuseMount
    from cowshed.local.boundary import kernel_errors

    client, let_go = _opened(mapping, task) if task.endpoint else (_connected(mapping, task), None)
    with kernel_errors:
        mount = FuseMount.mount(
            client,
            slot.mount,
            file=FILE,
            source=f"cowshed:{mapping.spec}",
            read_only=mapping.read_only,
            patience_seconds=task.patience,
        )
    try:
        read_only = mapping.read_only or client.read_only
        device = loop.attach(mount.path, read_only=read_only)
        mapping = replace(mapping, device=device, read_only=read_only, pid=os.getpid(), since=time.time())
        slot.write(mapping)
    except BaseException:
        for device in loop.of_file(mount.path):
            loop.detach(device)
        mount.unmount()
        raise
    _report(task, {"device": device})
    threading.Thread(target=_watch, args=[mount, mapping], daemon=True).start()
    signal.sigwait({*_ENDS, _UNMOUNTED})
    try:
        _end(mount, device)
        if let_go is not None:
            let_go()
    finally:
        slot.remove()


def _connected(mapping: Mapping, task: Task) -> NbdClient:
    """The image as an NBD server shows it to everybody."""
    from cowshed._kernel import ClientTls, NbdClient
    from cowshed.local.boundary import kernel_errors

    server = replace(parse_server(mapping.server), tls=task.tls)
    files = tls_files(server)
    with kernel_errors:
        tls = ClientTls(ca=files.ca, certificate=files.certificate, key=files.key) if files else None
        return NbdClient.connect(server.address, str(mapping.spec), tls=tls)


def _opened(mapping: Mapping, task: Task) -> tuple[NbdClient, Callable[[], None]]:
    """The image as this client has it open at a daemon, and how to let go of it."""
    from cowshed.remote import reach

    assert task.endpoint
    fingerprint = task.endpoint["fingerprint"]
    endpoint = task.endpoint | {"fingerprint": fingerprint and bytes.fromhex(fingerprint)}
    store = reach(TcpEndpoint(**endpoint))
    handle = store.handle(mapping.spec, read_only=mapping.read_only)

    def let_go() -> None:
        # A daemon that is not there any more has let go of it by itself.
        with suppress(CowshedError), store:
            handle.close(written=not mapping.read_only)

    try:
        return handle.connect(), let_go
    except BaseException:
        let_go()
        raise


def _watch(mount: Any, mapping: Mapping) -> None:
    """Write what fails to the system's log; when the file system is gone, have the process end."""
    for words in iter(mount.wait, None):
        _log(f"{mapping.device} ({mapping.spec}): {words}")
    os.kill(os.getpid(), _UNMOUNTED)


def _log(words: str) -> None:
    import syslog

    syslog.openlog("cowshed", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_ERR, words)


def _end(mount: Any, device: str) -> None:
    """Let the loop device go, and unmount; serve on for as long as somebody has the device open."""
    from cowshed._kernel import KernelError

    if device in loop.of_file(mount.path):
        loop.detach(device)
    while True:
        try:
            mount.unmount()
        except KernelError as error:
            if error.kind != "conflict":
                # Unmounted it is; what it says was told by `_watch` or is told here.
                _log(f"{device}: {error}")
                return
            time.sleep(0.05)
        else:
            return


if __name__ == "__main__":
    main()
