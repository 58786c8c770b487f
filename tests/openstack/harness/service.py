"""The child: `python -m harness.service ROOM SETTINGS`. One call is a line of JSON, and so is its answer."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import traceback
from typing import Any


def answer_of(room: Any, line: str) -> dict[str, Any]:
    name, arguments, keywords = json.loads(line)
    try:
        return {"value": getattr(room, name)(*arguments, **keywords)}
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error), "trace": traceback.format_exc()}


def main() -> None:
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    # Programs look at their command line for --config-file, and ours says nothing to them.
    sys.argv[1:] = []
    # Nothing but answers goes to who asks.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.basicConfig(level=logging.DEBUG if settings.get("debug") else logging.INFO)
    if record := os.environ.get("COWSHED_OPENSTACK_RECORD"):
        from . import recording

        recording.begin(record, name)
    room = importlib.import_module(f"harness.{name}").Room(settings)
    for line in sys.stdin:
        print(json.dumps(answer_of(room, line)), file=answers, flush=True)


if __name__ == "__main__":
    main()
