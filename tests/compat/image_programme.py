"""A programme of calls of `rbd.Image`, one a line, and what is answered: the same for any module `rbd`.

Run by /usr/bin/python3 with the real module against a cluster, it says what is to be expected:
`python3 image_programme.py CEPH_CONF POOL` prints the answers as JSON. Known to each line are
`i` (an image of 8 MiB, `zz-im-a`), `io`, `r` (RBD), `rbd`, and what lines before it have named.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

LINES = Path(__file__).parent / "image_programme.txt"


def lines() -> list[str]:
    """The calls, in order."""
    return [line for line in LINES.read_text().splitlines() if line and not line.startswith("#")]


def run(rbd: ModuleType, io: Any) -> list[tuple[str, str]]:
    """Each line and what it answered, with ids and times made plain."""
    r = rbd.RBD()
    prefix = f"zz-{os.getpid()}"
    r.create(io, f"{prefix}-a", 8 << 20)
    known: dict[str, Any] = {"rbd": rbd, "io": io, "r": r, "i": rbd.Image(io, f"{prefix}-a"), "seen": []}
    known["note"] = lambda *extent: known["seen"].append(extent)
    answers = []
    try:
        for line in lines():
            answers.append((line, _answer(line.replace("zz-im", prefix), known).replace(prefix, "zz-im")))
    finally:
        for value in known.values():
            if isinstance(value, rbd.Image):
                value.close()
        clear(rbd, io, prefix)
    return answers


def clear(rbd: ModuleType, io: Any, prefix: str) -> None:
    """Remove what a run leaves."""
    r = rbd.RBD()
    for _ in range(2):
        for name in reversed(r.list(io)):
            if not name.startswith(prefix):
                continue
            try:
                with rbd.Image(io, name) as image:
                    for snap in list(image.list_snaps()):
                        if snap["namespace"] != 0:
                            continue
                        if image.is_protected_snap(snap["name"]):
                            image.unprotect_snap(snap["name"])
                        image.remove_snap(snap["name"])
                r.remove(io, name)
            except rbd.Error:
                pass


def _answer(line: str, known: dict[str, Any]) -> str:
    try:
        if match := re.fullmatch(r"(\w+) = (.*)", line):
            known[match[1]] = eval(match[2], known)
            return "done"
        value = eval(line, known)
    except Exception as error:
        return f"{type(error).__name__} {getattr(error, 'errno', None)}"
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, datetime.datetime):
        return f"datetime, tz {value.tzinfo}, {'' if value.year > 2000 else 'epoch'}"
    text = repr(value)
    text = re.sub(r"rbd_data\.[0-9a-f]+", "rbd_data.ID", text)
    text = re.sub(r"'[0-9a-f]{10,16}'", "'ID'", text)
    text = re.sub(r"'id': \d+", "'id': N", text)
    text = re.sub(r"'cookie': \d+", "'cookie': N", text)
    text = re.sub(r"client\.\d+", "client.N", text)
    text = re.sub(r"'(addr|owner)': '[^']*'", r"'\1': TEXT", text)
    text = re.sub(r"'[^' ]+:\d+/\d+'", "ADDRESS", text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    return re.sub(r"datetime\.datetime\([^)]*\)", "datetime", text)


if __name__ == "__main__":
    import rados  # type: ignore[import-not-found, unused-ignore]
    import rbd as module  # type: ignore[import-not-found, unused-ignore]

    with rados.Rados(conffile=sys.argv[1]) as cluster, cluster.open_ioctx(sys.argv[2]) as ioctx:
        json.dump(run(module, ioctx), sys.stdout, indent=0)
