"""Formats that are left to qemu-img: vmdk, vhdx and vdi, converted to a qcow2 in a temporary directory.

qemu-img follows a name in an image to any file that the user may read. So an image that names others, a
vmdk with a descriptor of its own or with a parent, is refused before qemu-img copies anything; and the
image is handed over as an open file, whose name nobody can take for an option or a protocol.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cowshed.errors import FormatError, InvalidArgument, NoSpace, NotFound, from_os_error
from cowshed.formats.probe import Format, format_of, head_of
from cowshed.formats.streams import name_of

_PACKAGE = "qemu-utils"
_ROOM = "/var/tmp"
"""Where temporary files of a disk's size belong if TMPDIR names no place: /tmp may be memory."""
_SELF_CONTAINED = ("monolithicSparse", "streamOptimized")
"""The types of vmdk that are one file with all its data."""


@contextmanager
def as_qcow2(stream: BinaryIO, kind: Format) -> Iterator[BinaryIO]:
    """The image as a qcow2 file, which is removed again at the end.

    Raises NotFound where there is no qemu-img, FormatError for what it does not take, InvalidArgument for
    what is no file, NoSpace, IOFailure.
    """
    name = name_of(stream)
    program = shutil.which("qemu-img")
    if program is None:
        raise NotFound(
            f"{name} is {kind}, which takes qemu-img to read, and there is none here",
            hint=f"apt-get install {_PACKAGE}",
        )
    try:
        descriptor = stream.fileno()
        whole = stream.seekable() and stream.tell() == 0
    except OSError:
        whole = False
    if not whole:
        raise InvalidArgument(f"{name} is {kind}, which must be a file, read from its start")
    head = head_of(stream)
    if format_of(head) is not kind:
        raise FormatError(f"{name} is no {kind} image")
    if kind is Format.VMDK:
        _check_vmdk_head(head, name)
    elif kind is Format.VDI:
        _check_vdi_head(head, os.fstat(descriptor).st_size, name)
    room = os.environ.get("TMPDIR") or (_ROOM if Path(_ROOM).is_dir() else None)
    try:
        directory = tempfile.TemporaryDirectory(prefix="cowshed-import-", dir=room)
    except OSError as error:
        raise from_os_error(error, f"making a directory to convert {name} in") from None
    with directory:
        _check(program, descriptor, kind, name)
        converted = Path(directory.name) / "disk.qcow2"
        command = ["convert", "-f", kind.value, "-O", "qcow2", _image(descriptor), f"file:{converted}"]
        _run(program, command, descriptor, kind, name)
        with converted.open("rb") as file:
            yield file


def _image(descriptor: int) -> str:
    return f"file:/dev/fd/{descriptor}"


def _check_vmdk_head(head: bytes, name: str) -> None:
    """Raises FormatError for a vmdk that is not one sparse extent: all others are lists of files."""
    # Without a capacity, in sectors, QEMU takes the descriptor inside for such a list too.
    if head[:4] != b"KDMV" or not any(head[12:20]):
        raise _other_files(name)


def _check_vdi_head(head: bytes, length: int, name: str) -> None:
    """Raises FormatError for a vdi that was cut short: QEMU takes what is missing for zeros."""
    if len(head) < 512:
        raise FormatError(f"{name} ends within its header", hint="it was cut short")
    (data,) = struct.unpack_from("<I", head, 0x158)
    block_size, _, _, allocated = struct.unpack_from("<IIII", head, 0x178)
    if length < data + allocated * block_size:
        raise FormatError(f"{name} ends within its data", hint="it was cut short")


def _other_files(name: str) -> FormatError:
    return FormatError(
        f"{name} is a vmdk that names other files", hint="`qemu-img convert` it, if you trust who made it"
    )


def _check(program: str, descriptor: int, kind: Format, name: str) -> None:
    """Raises FormatError for an image that is not whole in its file."""
    said = _run(
        program, ["info", "-f", kind.value, "--output=json", _image(descriptor)], descriptor, kind, name
    )
    info = json.loads(said)
    details = info.get("format-specific", {}).get("data", {})
    if "backing-filename" in info or (
        kind is Format.VMDK and details.get("create-type") not in _SELF_CONTAINED
    ):
        raise _other_files(name)


def _run(program: str, words: list[str], descriptor: int, kind: Format, name: str) -> str:
    """What qemu-img printed. It ends with us, however we end."""
    with subprocess.Popen(
        [program, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[descriptor],
        text=True,
        errors="backslashreplace",
    ) as process:
        try:
            said, complaint = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        if os.strerror(errno.ENOSPC) in complaint:
            raise NoSpace(
                f"converting {name}: {os.strerror(errno.ENOSPC)}", hint="TMPDIR names another place"
            )
        lines = complaint.strip().splitlines() or [f"it ended with status {process.returncode}"]
        raise FormatError(f"qemu-img cannot read {name} as {kind}: {lines[-1].removeprefix('qemu-img: ')}")
    return said
