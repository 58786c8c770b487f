"""The error tree, and the page made of it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cowshed import errors
from cowshed.errors import CowshedError, Interrupted, IOFailure, NoSpace, NotFound, from_os_error

ROOT = Path(__file__).resolve().parent.parent


def tree(root: type[CowshedError] = CowshedError) -> list[type[CowshedError]]:
    return [root] + [found for child in root.__subclasses__() for found in tree(child)]


@pytest.mark.parametrize("cls", tree())
def test_every_class_is_complete(cls: type[CowshedError]) -> None:
    assert cls.errno in errno.errorcode
    assert cls.exit_code == (130 if cls is Interrupted else cls.errno)
    assert 400 <= cls.http_status < 600
    assert "meaning" in cls.__dict__
    assert cls.meaning.endswith(".")
    assert "\n" not in cls.meaning
    assert vars(errors)[cls.__name__] is cls


def test_errnos_tell_the_classes_apart() -> None:
    # The root and IOFailure share EIO: to a caller they are the same.
    numbers = [cls.errno for cls in tree() if cls is not CowshedError]
    assert len(set(numbers)) == len(numbers)


def test_message_and_hint() -> None:
    plain, hinted = NotFound("no image 'a'"), NotFound("no image 'a'", hint="look elsewhere")
    assert (str(plain), plain.message, plain.hint) == ("no image 'a'", "no image 'a'", None)
    assert str(hinted) == "no image 'a' (look elsewhere)"


@pytest.mark.parametrize(
    ("number", "cls"),
    [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EIO, IOFailure), (-1, IOFailure)],
)
def test_what_the_operating_system_says(number: int, cls: type[CowshedError]) -> None:
    error = from_os_error(OSError(number, os.strerror(number)), "reading 'x'")
    assert type(error) is cls
    assert str(error).startswith("reading 'x': ")


def test_the_page_is_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "errors_page", "--check"], check=False)
    assert done.returncode == 0
