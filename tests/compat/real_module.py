"""What a module consists of, as JSON: exceptions, constants, and the classes' public calls with arguments.

Run as a program with the real module's own Python: `/usr/bin/python3 real_module.py rados`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from typing import Any


def described(module: Any) -> dict[str, Any]:
    """Exceptions with their bases, constants, and the names of the arguments of each public call."""
    found: dict[str, Any] = {"errors": {}, "constants": {}, "classes": {}}
    for name in dir(module):
        value = getattr(module, name)
        if name.startswith("_"):
            continue
        if isinstance(value, int | str) and name.isupper():
            found["constants"][name] = value
        elif inspect.isclass(value) and issubclass(value, Exception):
            found["errors"][name] = [each.__name__ for each in value.__mro__[1:]]
        elif inspect.isclass(value) and getattr(value, "__module__", "") not in ("builtins", "typing"):
            found["classes"][name] = {
                call: _arguments(getattr(value, call))
                for call in dir(value)
                if not call.startswith("_") and callable(getattr(value, call))
            }
    return found


def _arguments(call: Any) -> list[str] | None:
    try:
        parameters = inspect.signature(call).parameters
    except ValueError:
        return None
    return [name for name in parameters if name != "self"]


if __name__ == "__main__":
    print(json.dumps(described(importlib.import_module(sys.argv[1]))))
