"""Which format the first bytes of an image are of.

A probe is a guess about bytes from outside: whoever writes a raw disk, a guest too, chooses its first
bytes. So what is only guessed must never lead to another file: see `Qcow2Source(backing=False)`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import BinaryIO

from cowshed.formats.qcow2.file import ImageFile
from cowshed.formats.streams import failed


class Format(StrEnum):
    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHDX = "vhdx"
    VDI = "vdi"


_HEAD = 512
_VDI_AT = 64
_VDI = b"\x7f\x10\xda\xbe"
_VMDK = (b"KDMV", b"COWD", b"# Disk DescriptorFile")
"""A sparse extent, one of ESX, and a text that names other files."""


def probe(stream: BinaryIO) -> Format:
    """The format by its magic; raw where none fits. A pipe is looked into as far as it can be.

    The stream stays where it stands. Raises IOFailure.
    """
    return format_of(head_of(stream))


def head_of(stream: BinaryIO) -> bytes:
    """The first bytes of a stream that stays where it stands: none of a pipe that cannot be looked into."""
    try:
        seekable = stream.seekable()
        if not seekable:
            peek = getattr(stream, "peek", None)
            return bytes(peek(_HEAD)[:_HEAD]) if peek else b""
    except OSError as error:
        raise failed(error, "reading", stream) from None
    file = ImageFile(stream)
    return bytes(file.read(0, min(_HEAD, file.length), "its first bytes"))


def format_of(head: bytes) -> Format:
    """The format whose magic is in the first 512 bytes of an image."""
    if head.startswith(b"QFI\xfb"):
        return Format.QCOW2
    if head.startswith(_VMDK):
        return Format.VMDK
    if head.startswith(b"vhdxfile"):
        return Format.VHDX
    if head[_VDI_AT:].startswith(_VDI):
        return Format.VDI
    return Format.RAW
