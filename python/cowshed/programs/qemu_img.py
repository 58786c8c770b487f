"""`qemu-img`: the real one, with `rbd:…` handed to it as NBD exports.

A line that names no such disk is the real one's as it stands. `create`, `resize`, and `convert` to an image
that is to be made change the store themselves, since NBD cannot; all else is the real one's work.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

import cowshed
from cowshed.errors import CowshedError, InvalidArgument, IOFailure, NotFound
from cowshed.programs.qemu_disks import Disks
from cowshed.programs.qemu_names import PREFIX, QemuName, parse_name
from cowshed.store import ImageSpec

_LOOKING = {"info", "map", "measure", "check", "compare"}
"""The commands that only read."""
_KEPT_BEHIND = {"-b", "-B", "-o"}
"""What follows these is written down in a file: an address of now would mean nothing there later."""
_SIZE = re.compile(r"(?P<sign>[+-]?)(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>[bkKMGTPE]?)", re.ASCII)
_UNITS = {"": 0, "b": 0, "k": 10, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
_FAILED = 1
"""The exit status of qemu-img's own failures."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: the real one's, or 1 where it was not reached."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        program = real_program()
        if not any(word.startswith(PREFIX) for word in words):
            os.execv(program, ["qemu-img", *words])
        with Disks() as disks:
            return _Run(program, words, disks).run()
    except CowshedError as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        print(f"qemu-img: {error.message}{hint}", file=sys.stderr)
        return _FAILED
    except OSError as error:
        print(f"qemu-img: {error.strerror or error}", file=sys.stderr)
        return _FAILED


def real_program() -> str:
    """The first qemu-img in PATH that is not cowshed's. Raises NotFound."""
    own = os.path.join(os.path.dirname(os.path.realpath(cowshed.__file__)), "compat", "bin")  # noqa: PTH118, PTH120
    for folder in os.get_exec_path():
        found = shutil.which("qemu-img", path=folder or ".")
        if found and os.path.dirname(os.path.realpath(found)) != own:  # noqa: PTH120
            return found
    raise NotFound("there is no qemu-img in PATH but cowshed's", hint="install qemu-utils")


class _Run:
    """One line, and what becomes of it."""

    def __init__(self, program: str, words: list[str], disks: Disks) -> None:
        self._program = program
        self._command, self._words = words[0], words[1:]
        self._disks = disks

    def run(self) -> int:
        target = self._words[-1] if self._words else ""
        before = self._words[-2] if len(self._words) > 1 else ""
        if self._command == "create" and before.startswith(PREFIX):
            return self._create(parse_name(before), _size(target))
        if self._command == "resize" and before.startswith(PREFIX):
            return self._resize(parse_name(before), target)
        words = [*self._words]
        if self._command == "convert" and target.startswith(PREFIX) and not _is_given(words, "n"):
            words = self._convert_to_new(words, parse_name(target))
        return self._handed_over(words)

    def _create(self, name: QemuName, size: int) -> int:
        image = _image(name)
        if (form := _value(self._words, "-f")) not in (None, "raw", "rbd"):
            raise InvalidArgument(f"an image in RBD holds raw data, and not {form}")
        self._disks.store(name.conf()).create(image, size)
        if not _is_given(self._words, "q"):
            print(f"Formatting '{name.spec}', fmt=raw size={size}")
        return 0

    def _resize(self, name: QemuName, text: str) -> int:
        image = _image(name)
        store = self._disks.store(name.conf())
        now = store.stat(image).size
        size = _size(text, now)
        store.resize(image, size, allow_shrink="--shrink" in self._words)
        if not _is_given(self._words, "q"):
            print("Image resized.")
        return 0

    def _convert_to_new(self, words: list[str], name: QemuName) -> list[str]:
        """Make the image that is to be written; the words for writing it."""
        image = _image(name)
        if (form := _value(words, "-O")) not in (None, "raw"):
            raise InvalidArgument(f"an image in RBD holds raw data, and not {form}", hint="give -O raw")
        sources = _operands(words)[:-1]
        if not sources:
            raise InvalidArgument("convert needs a source and a target")
        self._disks.store(name.conf()).create(image, sum(map(self._virtual_size, sources)))
        words = _without(words, "-o")
        # A new image reads as zeros: nothing has to be written where the source holds none.
        return ["-n", "--target-is-zero", *words]

    def _virtual_size(self, source: str) -> int:
        """Bytes of a source's disk, as the real program sees them. Raises IOFailure."""
        form = _value(self._words, "-f")
        words = ["info", "--output=json", *(["-f", form] if form else [])]
        if "--image-opts" in self._words:
            words.append("--image-opts")
        if _is_given(self._words, "U"):
            words.append("-U")
        ended = subprocess.run(
            [self._program, *words, self._url(source, read_only=True)],
            stdout=subprocess.PIPE,
            check=False,
        )
        if ended.returncode:
            raise IOFailure(f"the size of {source!r} is not known")
        return int(json.loads(ended.stdout)["virtual-size"])

    def _url(self, word: str, *, read_only: bool) -> str:
        return self._disks.url(parse_name(word), read_only=read_only) if word.startswith(PREFIX) else word

    def _handed_over(self, words: Sequence[str]) -> int:
        """Run the real program with URLs in place of names, and end as it ends."""
        handed = []
        for at, word in enumerate(words):
            last = at == len(words) - 1
            read_only = self._command in _LOOKING or (self._command == "convert" and not last)
            kept = at > 0 and words[at - 1] in _KEPT_BEHIND
            handed.append(word if kept else self._url(word, read_only=read_only))
        status = _run([self._program, self._command, *handed])
        if status:
            for relay in self._disks.relays:
                if relay.failure:
                    print(f"qemu-img: {relay.failure}", file=sys.stderr)
        return status


def _run(command: Sequence[str]) -> int:
    """Run it as if it were this process: signals go to it, and its end is this one's."""
    child: subprocess.Popen[bytes] | None = None

    def passed(number: int, frame: object) -> None:
        if child is not None:
            with suppress(ProcessLookupError):
                child.send_signal(number)

    # Ctrl-C and Ctrl-\ reach both from the terminal; the child decides. USR1 asks it for its progress.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, passed)
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, lambda number, frame: None)
    child = subprocess.Popen(command)
    status = child.wait()
    # A shell's word for an end by a signal; to die of it here would leave the exports as they are.
    return 128 - status if status < 0 else status


def _image(name: QemuName) -> ImageSpec:
    if not isinstance(name.spec, ImageSpec):
        raise InvalidArgument(f"'{name.spec}' is a snapshot, and cannot be written")
    return name.spec


def _size(text: str, now: int = 0) -> int:
    """Bytes that qemu's word for a size means; `+` and `-` count from `now`. Raises InvalidArgument."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise InvalidArgument(f"{text!r} is no size", hint="write a number and k, M, G, T, P or E")
    size = int(float(found["number"]) * (1 << _UNITS[found["unit"]]))
    if "." not in found["number"]:
        size = int(found["number"]) << _UNITS[found["unit"]]
    size = {"+": now + size, "-": now - size, "": size}[found["sign"]]
    if size < 0:
        raise InvalidArgument(f"the image is smaller than {text!r} would take from it")
    return size


_WITH_VALUE = "BFOSTabflmorstu"
"""The letters of qemu-img's options that a value follows."""
_LONG_WITH_VALUE = {"--object", "--output", "--bitmap"}


def _is_given(words: Sequence[str], letter: str) -> bool:
    """Whether an option without a value is given, alone or among others: `-n`, `-pn`."""
    return any(letter in flags for flags, _ in _options(words))


def _value(words: Sequence[str], option: str) -> str | None:
    """The value of an option, in the word behind it or in its own."""
    return next(
        (value for flags, value in _options(words) if flags[-1:] == option[1] and value is not None), None
    )


def _without(words: Sequence[str], option: str) -> list[str]:
    """The words without an option that stands by itself, and its value."""
    kept, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if word == option:
            del rest[:1]
        elif not word.startswith(option):
            kept.append(word)
    return kept


def _options(words: Sequence[str]) -> list[tuple[str, str | None]]:
    """Short options as they stand together, the last of them with its value if it takes one."""
    return [(flags, value) for flags, value, _ in _parsed(words) if flags]


def _operands(words: Sequence[str]) -> list[str]:
    """The words that are no options and no values of theirs."""
    return [operand for _, _, operand in _parsed(words) if operand is not None]


def _parsed(words: Sequence[str]) -> list[tuple[str, str | None, str | None]]:
    """As getopt reads them: flags with the last one's value, or an operand."""
    found: list[tuple[str, str | None, str | None]] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            found += [("", None, each) for each in rest]
            break
        if word.startswith("--"):
            if word in _LONG_WITH_VALUE:
                del rest[:1]
        elif word.startswith("-") and len(word) > 1:
            flags, value = word[1:], None
            for at, letter in enumerate(word[1:], 1):
                if letter in _WITH_VALUE:
                    flags = word[1 : at + 1]
                    value = word[at + 1 :] or (rest.pop(0) if rest else None)
                    break
            found.append((flags, value, None))
        else:
            found.append(("", None, word))
    return found


if __name__ == "__main__":
    sys.exit(main())
