"""A guest: qemu with a disk over NBD, and a port through which the guest says what is durable."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import threading
from pathlib import Path
from typing import Self

from guest.debian_kernel import GuestKernel
from guest.records import NAMES, WRITERS

QEMU = "qemu-system-x86_64"


def accelerators() -> list[str]:
    """What runs the guest: KVM where the processor has what that needs, else qemu's translation."""
    # A /dev/kvm without it (PVM, in some sandboxes) runs only kernels that were made for it.
    flags = Path("/proc/cpuinfo").read_text().split()
    kvm = os.access("/dev/kvm", os.R_OK | os.W_OK) and ("vmx" in flags or "svm" in flags)
    return ["-accel", "kvm", "-accel", "tcg"] if kvm else ["-accel", "tcg"]


class Failed(Exception):
    """The guest did not do what it should; the text has the end of its console."""


class Machine:
    """Runs until `kill`. `work` is a directory for its console."""

    def __init__(
        self,
        work: Path,
        kernel: GuestKernel,
        initramfs: Path,
        nbd: Path,
        export: str,
        session: int,
        *,
        waits: bool = False,
        writes_through: bool = False,
    ) -> None:
        """With `waits`, qemu waits for an NBD server that goes away, and the guest notices nothing.

        With `writes_through`, each write is durable before the guest is told that it is done. It takes this
        to go on after a server was killed: that has lost what was not flushed, and the guest does not know.
        """
        self.session = session
        self._console = work / f"console-{session}"
        self._port, theirs = socket.socketpair()
        blockdev = (
            f"driver=nbd,node-name=disk,server.type=unix,server.path={nbd},export={export},"
            "discard=unmap,cache.direct=on"
        )
        device = "virtio-blk-pci,drive=disk"
        if waits:
            blockdev += ",reconnect-delay=120"
        if writes_through:
            device += ",write-cache=off"
        words = f"console=ttyS0 quiet loglevel=5 panic=-1 session={session}"
        command = [
            *(QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-machine", "pc", "-cpu", "max", *accelerators(), "-smp", "2", "-m", "256"),
            *("-kernel", str(kernel.vmlinuz), "-initrd", str(initramfs), "-append", words),
            *("-serial", f"file:{self._console}"),
            *("-blockdev", blockdev, "-device", device),
            *("-chardev", f"socket,id=port,fd={theirs.fileno()}"),
            *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port,name=cowshed"),
        ]
        with theirs, self._console.with_suffix(".qemu").open("wb") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, pass_fds=[theirs.fileno()]
            )
        self._changed = threading.Condition()
        self._up = False
        self._ended = False
        self._epochs: dict[int, list[int]] = {
            number: [] for number in (*(it.number for it in WRITERS), NAMES)
        }
        self._wrong: str | None = None
        self._reader = threading.Thread(target=self._read, name="guest's port")
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End the guest at once, whatever it is doing: SIGKILL to qemu."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._port.close()

    def wait_until_up(self, seconds: float) -> None:
        """Until the guest has started its disk's programs. Raises Failed."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._up or self._ended, seconds) or self._ended:
                raise self._failed("it did not start")

    def wait_for_more(self, records: int, seconds: float) -> None:
        """Until each writer called so many more records durable than it has by now. Raises Failed."""
        before = self.durable()

        def enough() -> bool:
            return all(len(epochs) >= before[writer] + records for writer, epochs in self._epochs.items())

        with self._changed:
            if not self._changed.wait_for(lambda: enough() or self._ended, seconds) or self._ended:
                raise self._failed(
                    f"each writer was to do {records} more than {before}, not {self.durable()}"
                )

    def durable(self) -> dict[int, int]:
        """By writer, how many records or steps it called durable until now."""
        with self._changed:
            if self._wrong:
                raise self._failed(self._wrong)
            return {writer: len(epochs) for writer, epochs in self._epochs.items()}

    def begun(self, epoch: int) -> dict[int, int]:
        """By writer, how many records or steps can have been begun in this epoch or before.

        Asked when the guest is dead, so that no more will be heard of.
        """
        found = {}
        for writer, epochs in self._epochs.items():
            upto = sum(it <= epoch for it in epochs)
            # The one that was not finished, or not heard of, may be from any epoch.
            found[writer] = upto + (upto == len(epochs))
        return found

    def tell(self, epoch: int) -> None:
        """Tell the guest of a new epoch. The first one lets its writers begin."""
        try:
            self._port.sendall(b"%d\n" % epoch)
        except OSError:
            raise self._failed("it ended") from None

    def _read(self) -> None:
        try:
            with self._port.makefile("rb") as lines:
                for line in lines:
                    if line.endswith(b"\n"):
                        self._hear(line.decode().split())
        except (OSError, ValueError) as error:
            # qemu is killed while it speaks.
            self._wrong = None if isinstance(error, ConnectionError) else f"the guest's port: {error}"
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _hear(self, words: list[str]) -> None:
        with self._changed:
            if words == ["up", str(self.session)]:
                self._up = True
            elif words[:2] == ["durable", str(self.session)]:
                writer, number, epoch = map(int, words[2:])
                self._epochs[writer].append(epoch)
                if number != len(self._epochs[writer]):
                    raise ValueError(f"record {number} after {len(self._epochs[writer]) - 1}")
            else:
                raise ValueError(f"said {' '.join(words)!r}")
            self._changed.notify_all()

    def _failed(self, what: str) -> Failed:
        said = [
            path.read_text(errors="replace")[-4000:]
            for path in (self._console.with_suffix(".qemu"), self._console)
            if path.exists()
        ]
        return Failed(f"guest {self.session}: {what}\n" + "\n".join(said))


def missing() -> list[str]:
    """What is needed to run a guest, and is not here."""
    found = [] if shutil.which(QEMU) else [f"{QEMU} (Debian: qemu-system-x86)"]
    busybox = shutil.which("busybox")
    if not busybox or not _is_static(Path(busybox).read_bytes()):
        found.append("a static busybox (Debian: busybox-static)")
    return found


def _is_static(program: bytes) -> bool:
    """Whether it is an ELF file (of 64 bits) that names no loader of libraries."""
    if program[:5] != b"\x7fELF\x02":
        return False
    start, size, count = *struct.unpack_from("<Q", program, 32), *struct.unpack_from("<HH", program, 54)
    kinds = [struct.unpack_from("<I", program, start + size * index)[0] for index in range(count)]
    return _LOADER not in kinds


_LOADER = 3
"""PT_INTERP."""
