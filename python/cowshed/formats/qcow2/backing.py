"""Backing files: the file that an image names for all that it does not hold itself.

The name comes from outside. Followed blindly it would make a disk of any file that the user may read: so
it must be a regular file in the folder of the file that names it, and the image must say which format it
has. What a guest wrote into a raw disk is never taken for a header.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from cowshed.errors import FormatError, from_os_error
from cowshed.formats.qcow2.file import ImageFile
from cowshed.formats.qcow2.header import Header

MAX_DEPTH = 64
"""Files in a chain."""
_ALLOW = "--allow-backing-outside (allow_backing_outside=True) follows it, if you trust who made the image"


class Chain:
    """The files behind an image that were opened on the way down; refuses loops."""

    def __init__(self, *, anywhere: bool) -> None:
        self._anywhere = anywhere
        self._opened: list[BinaryIO] = []
        self._seen: set[tuple[int, int]] = set()

    def close(self) -> None:
        for stream in self._opened:
            stream.close()

    def add_top(self, file: ImageFile) -> None:
        """Note the first file, which is not opened here."""
        try:
            info = os.fstat(file.stream.fileno())
        except OSError:  # as with BytesIO
            return
        self._seen.add((info.st_dev, info.st_ino))

    def unwanted(self, file: ImageFile, header: Header) -> FormatError:
        """The error for an image with a backing file where none is to be followed."""
        return FormatError(
            f"{file.name} looks like a qcow2 image with a backing file {_shown(header)!r},"
            " and may be a raw disk whose guest wrote that",
            hint="say which format it has: `--input-format qcow2` or raw",
        )

    def below(self, file: ImageFile, header: Header) -> tuple[ImageFile, str]:
        """The backing file of an image that names one, and its format: "raw" or "qcow2".

        Raises FormatError for one that may not be followed, NotFound, PermissionDenied, IOFailure.
        """
        name, kind = header.backing_name, header.backing_format
        assert name is not None
        shown = _shown(header)
        if kind is None:
            raise FormatError(
                f"{file.name} does not say which format its backing file {shown!r} has",
                hint="`qemu-img rebase -u -F FORMAT -b NAME FILE` writes it down",
            )
        if kind not in ("raw", "qcow2"):
            raise FormatError(
                f"{file.name} has a backing file {shown!r} of format {kind!r}; raw and qcow2 are read here",
                hint="`qemu-img convert` makes one file of the chain",
            )
        if re.match(r"[^/]*:", name):
            raise FormatError(
                f"{file.name} has a backing file {shown!r}, which is no plain file",
                hint="`qemu-img convert` makes one file of the chain",
            )
        if len(self._opened) + 1 >= MAX_DEPTH:
            raise FormatError(f"the chain of backing files is longer than {MAX_DEPTH} at {file.name}")
        stream = self._open(file, name, shown)
        self._opened.append(stream)
        info = os.fstat(stream.fileno())
        if (info.st_dev, info.st_ino) in self._seen:
            raise FormatError(f"the chain of backing files runs in a loop: {file.name} names {shown!r} again")
        self._seen.add((info.st_dev, info.st_ino))
        return ImageFile(stream), kind

    def _open(self, file: ImageFile, name: str, shown: str) -> BinaryIO:
        folder = _folder(file, shown)
        path = folder / name
        if not self._anywhere and os.path.realpath(path.parent) != os.path.realpath(folder):
            raise FormatError(f"{file.name} has a backing file {shown!r} in another folder", hint=_ALLOW)
        # O_NONBLOCK, so that a FIFO of that name is told instead of waited for.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if self._anywhere else os.O_NOFOLLOW)
        try:
            stream = open(path, "rb", opener=lambda named, _: os.open(named, flags))  # noqa: SIM115
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise FormatError(
                    f"{file.name} has a backing file {shown!r}, which is a symbolic link",
                    hint=_ALLOW,
                ) from None
            raise from_os_error(error, f"reading {shown!r}, the backing file of {file.name}") from None
        mode = os.fstat(stream.fileno()).st_mode
        if not (stat.S_ISREG(mode) or (self._anywhere and stat.S_ISBLK(mode))):
            stream.close()
            raise FormatError(f"{file.name} has a backing file {shown!r}, which is no regular file")
        return stream


def _shown(header: Header) -> str:
    """The backing file's name as people can read it."""
    return (header.backing_name or "").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _folder(file: ImageFile, shown: str) -> Path:
    """Where names in a file are looked for: its own folder, as the caller called it."""
    name = getattr(file.stream, "name", None)
    if isinstance(name, str):
        try:
            mine, there = os.fstat(file.stream.fileno()), Path(name).stat()
            if (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino):
                return Path(name).parent
        except OSError:
            pass
    raise FormatError(
        f"{file.name} has a backing file {shown!r}, and no folder to look for it in",
        hint="name the file itself",
    )
