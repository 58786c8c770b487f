"""A guest that needs no system: what it boots copies the disk's second sector onto the third and ends.

It is run by qemu, or by libvirt, which makes qemu's command line of its own XML.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

SECTOR = 512
_PATIENCE = 60.0
_PACKET = bytes.fromhex("10000100008000000100000000000000")
"""What the BIOS is to read: one sector, to 0000:8000, the second of the disk."""
_CODE = bytes.fromhex(
    "31c0 8ed8"  # data is at segment 0
    "be207c"  # the packet, which follows the code
    "b442 cd13"  # read, from the disk that this was read from
    "7209"
    "c6440802"  # the third sector
    "b80043 cd13"  # write
    "ba0406 b80020 ef"  # ACPI's word to switch off
    "f4 ebfd"
)
BOOT = (_CODE + _PACKET).ljust(SECTOR - 2, b"\0") + b"\x55\xaa"
QEMU = ("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", "64", "-nodefaults", "-display", "none")


def disk(words: bytes) -> bytes:
    """A disk of such a guest, with the words that it is to copy."""
    return (BOOT + words.ljust(SECTOR, b".")).ljust(1 << 20, b"\0")


def copied(content: bytes) -> bytes:
    """What a disk's third sector holds."""
    return content[2 * SECTOR : 3 * SECTOR].rstrip(b".")


def run_by_qemu(words: Sequence[str]) -> None:
    """Boot from the disk that these words of a command line make, until the guest switches off."""
    if shutil.which(QEMU[0]) is None:
        pytest.skip(f"there is no {QEMU[0]} here (apt-get install qemu-system-x86)")
    subprocess.run([*QEMU, *words], check=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE)


@contextmanager
def _root(certificates: Path | None) -> Iterator[Path]:
    """A directory for a libvirt of this test's own; by a short path, for the sake of its sockets."""
    with tempfile.TemporaryDirectory(prefix="libvirt-") as folder:
        root = Path(folder)
        (root / "etc").mkdir()
        settings = ['user = "root"', 'group = "root"', 'security_driver = "none"', 'stdio_handler = "file"']
        settings += ["namespaces = []", "cgroup_controllers = []"]
        if certificates:
            settings.append(f'nbd_tls_x509_cert_dir = "{certificates}"')
        (root / "etc" / "qemu.conf").write_text("\n".join(settings) + "\n")
        yield root


def run_by_libvirt(disk: str, certificates: Path | None = None) -> None:
    """Boot from the disk that this XML describes, until the guest switches off."""
    program = shutil.which("virt-qemu-run")
    if program is None or shutil.which(QEMU[0]) is None:
        pytest.skip("there is no virt-qemu-run here (apt-get install libvirt-daemon-driver-qemu)")
    with _root(certificates) as root:
        (root / "guest.xml").write_text(
            "<domain type='qemu'><name>guest</name><memory unit='MiB'>64</memory>"
            "<os><type arch='x86_64' machine='q35'>hvm</type></os>"
            "<features><acpi/></features>"
            f"<devices>{disk}<memballoon model='none'/></devices></domain>"
        )
        said, log = root / "said", root / "log" / "qemu" / "guest.log"
        with said.open("wb") as file:
            libvirt = subprocess.Popen(
                [program, f"--root={root}", str(root / "guest.xml")],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )
        # It outlives its guest, until it is interrupted.
        try:
            deadline = time.monotonic() + _PATIENCE
            while libvirt.poll() is None and not (log.exists() and "reason=" in log.read_text()):
                assert time.monotonic() < deadline, f"the guest goes on: {said.read_text()}"
                time.sleep(0.05)
        finally:
            libvirt.send_signal(signal.SIGINT)
            libvirt.wait(_PATIENCE)
        words = said.read_text()
        if "cannot open qemu:///embed" in words:
            pytest.skip(f"libvirt cannot be used here: {words.splitlines()[-1]}")
        assert log.exists(), words
        assert "reason=shutdown" in log.read_text(), log.read_text() + words
