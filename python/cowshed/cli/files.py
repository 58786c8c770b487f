"""The files that verbs read and write; `-` is stdin or stdout."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from cowshed.errors import AlreadyExists, InvalidArgument, from_os_error

STANDARD = "-"


@contextmanager
def reading(path: str) -> Iterator[BinaryIO]:
    """A file to read. Raises NotFound, PermissionDenied, InvalidArgument, IOFailure."""
    if path == STANDARD:
        if sys.stdin is None or sys.stdin.isatty():
            raise InvalidArgument(
                "stdin is no pipe or file to read from", hint="name a file, or pipe into it"
            )
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - closed below, so that its errors are told apart
    except OSError as error:
        raise from_os_error(error, f"cannot read '{path}'") from None
    with file:
        yield file


@contextmanager
def writing(path: str) -> Iterator[BinaryIO]:
    """A new file, an existing device or pipe, or stdout to write. A file that was begun goes if it fails.

    Raises AlreadyExists, as rbd does: an export never overwrites a file. Also NotFound (the directory),
    PermissionDenied, InvalidArgument, NoSpace, IOFailure.
    """
    if path == STANDARD:
        if sys.stdout.isatty():
            raise InvalidArgument(
                "stdout is a terminal, which a disk image would garble", hint="name a file, or pipe it on"
            )
        yield sys.stdout.buffer
        return
    try:
        file, ours = _open_for_writing(path)
    except FileExistsError:
        raise AlreadyExists(f"'{path}' exists already", hint="remove it, or choose another name") from None
    except OSError as error:
        raise from_os_error(error, f"cannot write '{path}'") from None
    try:
        with file:
            yield file
    except BaseException:
        if ours:
            with suppress(OSError):
                Path(path).unlink()
        raise


def _open_for_writing(path: str) -> tuple[BinaryIO, bool]:
    """The file, and whether it was made by this call."""
    target = Path(path)
    with suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return target.open("wb"), False
    return target.open("xb"), True
