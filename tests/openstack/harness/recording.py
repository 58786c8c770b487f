"""Writes down what a driver asks of `rbd` and `rados`, and which programs it starts."""

from __future__ import annotations

import functools
import os
import sys
import threading
from pathlib import Path
from typing import Any

inside = threading.local()
"""`one` while a recorded call is under way: the modules' calls of themselves do not count."""

CLASSES = {"rbd": ("RBD", "Image", "Group"), "rados": ("Rados", "Object")}


def shape(value: object) -> str:
    """What an argument was, not what was in it."""
    return "None" if value is None else str(value) if isinstance(value, bool) else type(value).__name__


def begin(path: str, service: str) -> None:
    """From now on each call is a line of the file: the service, the call. Before any driver is imported."""
    out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def note(call: str) -> None:
        os.write(out, f"{service}\t{call}\n".encode())

    for module_name, names in CLASSES.items():
        module = __import__(module_name)
        for name in names:
            setattr(module, name, recorded(getattr(module, name), f"{module_name}.{name}", note))

    def heard(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            words = [os.fsdecode(word) for word in arguments[1]]
            note(
                "$ "
                + " ".join([Path(words[0]).name, *(w for w in words[1:] if w.startswith("-") or w.isalpha())])
            )

    sys.addaudithook(heard)


def recorded(original: Any, name: str, note: Any) -> Any:
    """A subclass whose public methods, and the making of one, say that they were called."""

    def telling(method: Any, called: str) -> Any:
        @functools.wraps(method)
        def tell(self: Any, *arguments: Any, **keywords: Any) -> Any:
            if inside.__dict__.get("one"):
                return method(self, *arguments, **keywords)
            shapes = [shape(a) for a in arguments] + [f"{k}={shape(v)}" for k, v in keywords.items()]
            note(f"{name}{called}({', '.join(shapes)})")
            inside.one = True
            try:
                return method(self, *arguments, **keywords)
            finally:
                inside.one = False

        return tell

    members = {}
    for key in dir(original):
        method = getattr(original, key)
        if callable(method) and not key.startswith("_"):
            members[key] = telling(method, f".{key}")
    members["__init__"] = telling(original.__init__, "")
    return type(original.__name__, (original,), members)
