"""Recorded sessions: lines of Python and what each answered, run again on another module of the same name.

    >>> io.read('a')
    b'hello'
    >>> io.read('nope')
    !! ObjectNotFound [errno 2] RADOS object not found (…) 2

A line that is no expression answers nothing. Run as a program, this records a session with the real module:

    /usr/bin/python3 session.py rados FILE.session CEPH_CONF >NEW.session
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

_PROMPT = ">>> "
_ADDRESS = re.compile(r"<[\w.]*?(\w+) object at 0x[0-9a-f]+>")


def read(path: Path) -> list[tuple[str, str]]:
    """Lines with what they answered."""
    found: list[tuple[str, str]] = []
    for line in path.read_text().splitlines():
        if line.startswith(_PROMPT):
            found.append((line.removeprefix(_PROMPT), ""))
        elif line:
            found[-1] = found[-1][0], line
    return found


def run(lines: list[str], names: dict[str, Any]) -> list[tuple[str, str]]:
    """What the lines answer, one after the other, with these names to begin with."""
    return [(line, _answer(line, names)) for line in lines]


def _answer(line: str, names: dict[str, Any]) -> str:
    try:
        try:
            code = compile(line, "session", "eval")
        except SyntaxError:
            exec(compile(line, "session", "exec"), names)
            return ""
        return _ADDRESS.sub(r"<\1>", repr(eval(code, names)))
    except Exception as error:
        said = f"!! {type(error).__name__} {error} {getattr(error, 'errno', '-')}"
        return _ADDRESS.sub(r"<\1>", said)


def show(answers: list[tuple[str, str]]) -> str:
    """The text of a session."""
    return "".join(f"{_PROMPT}{line}\n" + (f"{answer}\n" if answer else "") for line, answer in answers)


if __name__ == "__main__":
    module, file, conf = sys.argv[1:]
    begin = {module: importlib.import_module(module), "CONF": conf}
    sys.stdout.write(show(run([line for line, _ in read(Path(file))], begin)))
