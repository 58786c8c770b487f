"""Errors as JSON and back: the class by its name, with its own message and hint."""

from __future__ import annotations

from typing import Any

from cowshed import errors
from cowshed.errors import CowshedError


def encode(error: CowshedError) -> dict[str, Any]:
    """What stands under `error` in an answer."""
    found = {
        "class": type(error).__name__,
        "errno": error.errno,
        "message": error.message,
        "hint": error.hint,
    }
    if isinstance(error, errors.Mismatch) and error.offset is not None:
        found["offset"] = error.offset
    return found


def decode(value: Any) -> CowshedError:
    """The error itself. A class that is not known here becomes the one with its errno, or the root."""
    if not isinstance(value, dict):
        return CowshedError(f"the daemon reported an error without words: {value!r}")
    hint = value.get("hint")
    cls = _class_of(value.get("class"), value.get("errno"))
    found = cls(str(value.get("message")), hint=None if hint is None else str(hint))
    if isinstance(found, errors.Mismatch) and isinstance(offset := value.get("offset"), int):
        found.offset = offset
    return found


def _class_of(name: object, number: object) -> type[CowshedError]:
    cls = getattr(errors, name, None) if isinstance(name, str) else None
    if isinstance(cls, type) and issubclass(cls, CowshedError):
        return cls
    for cls in _tree(CowshedError):
        if cls.errno == number:
            return cls
    return CowshedError


def _tree(root: type[CowshedError]) -> list[type[CowshedError]]:
    return [root] + [found for child in root.__subclasses__() for found in _tree(child)]
