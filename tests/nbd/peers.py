"""Other people's NBD servers, run for a test."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A server that runs, and where it listens."""

    address: str
    process: subprocess.Popen[bytes]


def needs(program: str, package: str) -> None:
    """Skip the test where the program is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed (Debian's package {package})")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(address: str) -> bool:
    kind, _, place = address.partition(":")
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            if kind == "unix":
                probe.connect(place)
            else:
                host, _, port = place.rpartition(":")
                probe.connect((host, int(port)))
        except OSError:
            return False
    return True


@contextmanager
def _running(arguments: list[str], address: str) -> Iterator[Peer]:
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(address):
            assert process.poll() is None, f"{arguments} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{arguments} does not listen"
            time.sleep(0.01)
        yield Peer(address, process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def nbdkit(directory: Path, *arguments: str, tcp: bool = False) -> Iterator[Peer]:
    """nbdkit with these arguments: its options, the plugin, the plugin's and the filters' parameters."""
    needs("nbdkit", "nbdkit")
    if tcp:
        port = free_port()
        place, address = ["-i", "127.0.0.1", "-p", str(port)], f"tcp:127.0.0.1:{port}"
    else:
        path = directory / "nbdkit.sock"
        place, address = ["-U", str(path)], f"unix:{path}"
    with _running(["nbdkit", "--foreground", *place, *arguments], address) as peer:
        yield peer


@contextmanager
def qemu_nbd(directory: Path, *arguments: str, tcp: bool = False) -> Iterator[Peer]:
    """qemu-nbd with these arguments, for any number of connections."""
    needs("qemu-nbd", "qemu-utils")
    if tcp:
        port = free_port()
        place, address = ["-b", "127.0.0.1", "-p", str(port)], f"tcp:127.0.0.1:{port}"
    else:
        path = directory / "qemu.sock"
        place, address = ["-k", str(path)], f"unix:{path}"
    with _running(["qemu-nbd", "--persistent", "--shared=0", *place, *arguments], address) as peer:
        yield peer


def run(*arguments: str | Path) -> str:
    """The output of a program that must succeed."""
    done = subprocess.run(
        [str(argument) for argument in arguments], check=True, capture_output=True, text=True
    )
    return done.stdout
