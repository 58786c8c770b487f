"""A fork has its parent's open store in memory: it is told so, and does the parent no harm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cowshed
from remote.daemon import ServedStore

PARENT = """
import gc, json, os, sys
import cowshed
from cowshed.errors import CowshedError

store = cowshed.open(sys.argv[1])
store.create("disk", 8 << 20)
disk = store.open("disk")
frozen = store.open(str(store.create_snapshot("disk@s") and "disk@s"))
disk.write(0, b"b" * 8192)

def asked(call):
    try:
        return "answered", repr(call())
    except CowshedError as error:
        return type(error).__name__, str(error)

def child():
    said = {name: asked(call) for name, call in {
        "pools": store.pools, "create": lambda: store.create("other", 4096), "check": store.check,
        "pool": lambda: store.create_pool("p"), "reclaim": store.reclaim, "facts": store.facts,
        "open": lambda: store.open("disk"), "objects": lambda: store.objects("rbd"),
        "size": lambda: disk.size, "read": lambda: disk.read(0, 1), "beyond": lambda: disk.read(8 << 20, 1),
        "into": lambda: disk.read_into(0, bytearray(1)), "long": lambda: disk.read(0, 2 << 20),
        "write": lambda: disk.write(0, b"c" * 8192), "new": lambda: disk.write(1 << 20, b"c" * 8192),
        "discard": lambda: disk.discard(0, 8192), "zeroes": lambda: disk.write_zeroes(0, 8192),
        "flush": disk.flush, "diff": lambda: list(disk.diff("s")), "owner": disk.lock_owner,
        "acquire": disk.lock_acquire, "frozen": lambda: frozen.read(0, 1),
    }.items()}
    disk.close()
    store.close()
    return said

number = os.fork()
if number == 0:
    print(json.dumps(child()), flush=True)
    # Let go by name, by the collector, and at the interpreter's end.
    del disk, frozen, store
    gc.collect()
    sys.exit(0)
assert os.waitpid(number, 0)[1] == 0
number = os.fork()
if number == 0:
    sys.exit(0)
assert os.waitpid(number, 0)[1] == 0
assert disk.read(0, 8192) == b"b" * 8192 and frozen.read(0, 8192) == bytes(8192)
disk.write(0, b"a" * 4096)
disk.lock_acquire()
# Another fork lives on, with all that it has, when the parent is done.
stay, go = os.pipe()
if os.fork() == 0:
    os.close(go)
    os.close(1)
    os.close(2)
    os.read(stay, 1)
    os._exit(0)
disk.close()
frozen.close()
assert list(store.images("rbd")) == ["disk"]
store.close()
if "://" not in sys.argv[1]:
    again = cowshed.open(sys.argv[1])
    again.close()
print("whole")
"""


def forked(store: Path) -> dict[str, Any]:
    """What the fork of a process that has the store open was told; the parent must come to its end."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PARENT, store],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said, end = done.stdout.splitlines()
    assert end == "whole"
    answers: dict[str, Any] = json.loads(said)
    return answers


@pytest.mark.parametrize("way", ["local", "daemon"])
def test_a_fork_is_told(tmp_path: Path, way: str) -> None:
    path = tmp_path / "store"
    if way == "local":
        cowshed.open(path, create=True).close()
        said = forked(path)
    else:
        with ServedStore(path):
            said = forked(path)
    assert {name: kind for name, (kind, _) in said.items() if kind != "Forked"} == {}
    assert {words.partition(" was opened by process ")[2] != "" for _, words in said.values()} == {True}
    with cowshed.open(path) as store:
        assert store.check() == []
        assert store.open("disk").read(0, 8192) == b"a" * 4096 + b"b" * 4096
        assert list(store.images("rbd")) == ["disk"]
