"""The names that the modules show: classes, methods with their arguments, exceptions, constants."""

from __future__ import annotations

import errno
import gc
import inspect
import re
from types import ModuleType
from typing import Any

CLASSES = {
    "rados": ("Rados", "Ioctx", "Object", "Completion", "ReadOp", "WriteOp", "Snap", "Watch"),
    "rbd": ("RBD", "Image", "Group", "Completion"),
}
ITERATORS = re.compile(r".*(Iterator|OpCtx)$")
# Not meant for anyone but the modules themselves.
INTERNAL = {
    "cstr",
    "cstr_list",
    "decode_cstr",
    "flatten_dict",
    "wraps",
    "requires",
    "requires_not_closed",
    "set_object_locator",
    "set_object_namespace",
    "opt",
    "list2",
}


def surface_of(rbd: ModuleType, rados: ModuleType) -> dict[str, dict[str, Any]]:
    """`calls`: arguments by full name; `errors`: base class by name; `constants`: numbers by name."""
    calls: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    constants: dict[str, Any] = {}
    for module in (rados, rbd):
        short = module.__name__.rpartition(".")[2]
        for name, value in sorted(vars(module).items()):
            if name.startswith("_"):
                continue
            full = f"{short}.{name}"
            if inspect.isclass(value) and issubclass(value, module.Error):
                errors[full] = value.__bases__[0].__name__
            elif inspect.isclass(value) and ITERATORS.match(name):
                calls[full] = None
            elif name in CLASSES[short] and inspect.isclass(value):
                calls[full] = arguments(value.__init__)
                for method in sorted(dir(value)):
                    if callable(getattr(value, method)) and not method.startswith("_"):
                        calls[f"{full}.{method}"] = arguments(getattr(value, method))
            elif type(value) is int and name not in vars(errno) and name.isupper():
                constants[full] = value
    return {"calls": calls, "errors": errors, "constants": constants}


def arguments(function: Any) -> list[str] | None:
    """Names of arguments, `name=default` where there is one; None where the function does not tell."""
    function = _behind(function)
    first = (function.__doc__ or "").strip().partition("\n")[0]
    shown = re.match(r"[\w.]*\w\((.*)\)(?: ->.*)?$", first)
    if shown:
        return [name for name in map(_argument, _split(shown[1])) if name != "self"]
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters):
        return None
    return [
        each.name if each.default is each.empty else f"{each.name}={each.default!r}"
        for each in parameters
        if each.name != "self"
    ]


def _behind(function: Any) -> Any:
    """The function that a decorator made in C holds, which is the one that tells its arguments."""
    for held in gc.get_referents(function) if type(function).__name__ == "cython_function_or_method" else ():
        if "scope" in type(held).__name__:
            return next(filter(callable, gc.get_referents(held)), function)
        if type(held).__name__ == "method_descriptor":
            return held
    return function


def _split(text: str) -> list[str]:
    """Split at commas that are in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _argument(text: str) -> str:
    """`unicode key: str = u''` is `key=''`."""
    before, equals, default = text.partition("=")
    name = before.partition(":")[0].split()[-1]
    default = re.sub(r"\bu(?=['\"])", "", default.strip())
    return f"{name}={default}" if equals else name
