"""Servers to measure: the daemon, and others' NBD servers with the same content."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from bench.lab import Lab

PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """An export, and the process that serves it."""

    uri: str
    pid: int
    socket: Path

    def of(self, image: str) -> Served:
        """Another image of the same daemon."""
        return Served(_uri(self.socket, f"rbd/{image}"), self.pid, self.socket)


def _uri(socket: Path, export: str = "") -> str:
    return f"nbd+unix:///{export}?socket={quote(str(socket))}"


@contextmanager
def _running(command: list[str], socket: Path) -> Iterator[int]:
    """A server, from when its socket is there."""
    socket.unlink(missing_ok=True)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"{command[0]} does not serve at {socket}")
            time.sleep(0.01)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


@contextmanager
def cowshed_daemon(store: Path, image: str) -> Iterator[Served]:
    """`cowshed serve` for a store, and one of its images."""
    socket = store / "nbd.sock"
    command = [sys.executable, "-m", "cowshed", "--store", str(store), "serve", "--log-level", "warning"]
    with _running(command, socket) as pid:
        yield Served(_uri(socket, f"rbd/{image}"), pid, socket)


@contextmanager
def nbdkit_memory(lab: Lab) -> Iterator[Served]:
    """nbdkit's memory plugin, full. Raises Missing."""
    socket = lab.path("nbdkit.sock")
    nbdkit = lab.peers.program("nbdkit")
    command = [nbdkit, "-f", "-U", str(socket), "memory", str(lab.sizes.disk)]
    with _running(command, socket) as pid:
        uri = _uri(socket)
        content = lab.path("nbdkit.raw")
        lab.fill_file(content, lab.sizes.disk)
        lab.peers.nbdcopy(str(content), uri)
        content.unlink()
        yield Served(uri, pid, socket)


@contextmanager
def qemu_nbd(lab: Lab, kind: str, *, snapshot: bool = False) -> Iterator[Served]:
    """qemu-nbd on a full raw or qcow2 file, with its defaults; with a new internal snapshot, if so asked.

    Raises Missing.
    """
    program = lab.peers.program("qemu-nbd")
    raw = lab.path("qemu-nbd.raw")
    lab.fill_file(raw, lab.sizes.disk)
    file = raw
    if kind == "qcow2":
        file = lab.path("qemu-nbd.qcow2")
        lab.peers.qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, file)
        raw.unlink()
    if snapshot:
        lab.peers.qemu_img("snapshot", "-c", "s", file)
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    socket = lab.path(f"qemu-nbd-{kind}.sock")
    command = [program, "-t", "-e", "16", "-f", kind, "-k", str(socket), str(file)]
    try:
        with _running(command, socket) as pid:
            yield Served(_uri(socket), pid, socket)
    finally:
        file.unlink()
