"""A forked process is told so in the words of the face, and its parent goes on as if there were none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from compat.stores import stores

PARENT = """
import gc, json, os, sys, threading
from cowshed.compat import rados, rbd

client = rados.Rados(conf={"cowshed": sys.argv[1]})
client.connect()
ioctx = client.open_ioctx("rbdimage")
rbd.RBD().create(ioctx, "disk", 8 << 20)
rbd.RBD().group_create(ioctx, "group")
group = rbd.Group(ioctx, "group")
image = rbd.Image(ioctx, "disk")
reader = rbd.Image(ioctx, "disk", read_only=True)
image.write(b"before", 0)
ioctx.write_full("note", b"before")
held = threading.Event()
pending = image.aio_read(0, 6, lambda completion, data: held.wait())
stopped = ioctx.aio_stat("note", lambda *_: held.wait())

def asked(call):
    try:
        return "answered", repr(call())
    except (rados.Error, rbd.Error) as error:
        return type(error).__module__.split(".")[2] + "." + type(error).__name__, error.errno

def anew():
    with rados.Rados(conf={"cowshed": sys.argv[1]}) as own, own.open_ioctx("rbdimage") as io:
        io.write_full("child", b"was here")
        return io.read("child")

def child():
    said = {name: asked(call) for name, call in {
        "get_fsid": client.get_fsid, "list_pools": client.list_pools,
        "open_ioctx": lambda: client.open_ioctx("rbdimage"),
        "mon_command": lambda: client.mon_command('{"prefix": "df"}', b""),
        "read_object": lambda: ioctx.read("note"), "write_object": lambda: ioctx.write_full("note", b"x"),
        "stats": ioctx.get_stats, "aio_object": lambda: ioctx.aio_stat("note", lambda *_: None),
        "list": lambda: rbd.RBD().list(ioctx), "remove": lambda: rbd.RBD().remove(ioctx, "disk"),
        "members": lambda: list(group.list_images()), "add": lambda: group.add_image(ioctx, "disk"),
        "open": lambda: rbd.Image(ioctx, "disk"),
        "read": lambda: image.read(0, 1), "write": lambda: image.write(b"x", 0), "flush": image.flush,
        "stat": image.stat, "lock": lambda: image.lock_acquire(rbd.RBD_LOCK_MODE_EXCLUSIVE),
        "snapshots": lambda: list(image.list_snaps()), "aio": lambda: image.aio_flush(None),
        "read_only": lambda: reader.read(0, 1),
        "pending": pending.wait_for_complete_and_cb, "stopped": stopped.wait_for_complete_and_cb,
    }.items()}
    # What the parent has is let go of: by name, and by the end of this process.
    for close in (image.close, reader.close, ioctx.close, client.shutdown):
        close()
    gc.collect()
    said["anew"] = asked(anew)
    return said

sys.stdout.flush()
number = os.fork()
if number == 0:
    print(json.dumps(child()), flush=True)
    # The interpreter's own end, with all its finalizers, and no os._exit.
    sys.exit(0)
assert os.waitpid(number, 0)[1] == 0
held.set()
pending.wait_for_complete_and_cb()
stopped.wait_for_complete_and_cb()
assert image.is_exclusive_lock_owner()
assert image.read(0, 6) == b"before" and image.write(b"after", 0) == 5 and reader.read(0, 5) == b"after"
image.flush()
assert ioctx.read("note") == b"before" and rbd.RBD().list(ioctx) == ["disk"]
for close in (image.close, reader.close, ioctx.close, client.shutdown):
    close()
print("whole")
"""
RADOS_STATE = ("rados.RadosStateError", None)
IOCTX_STATE = ("rados.IoctxStateError", None)
NOT_CONNECTED = ("rbd.OSError", 107)
SAID = {
    **dict.fromkeys(["get_fsid", "list_pools", "open_ioctx", "mon_command", "stopped"], RADOS_STATE),
    **dict.fromkeys(["read_object", "write_object", "stats", "aio_object"], IOCTX_STATE),
    **dict.fromkeys(["list", "remove", "add", "open"], IOCTX_STATE),
    **dict.fromkeys(["read", "write", "flush", "stat", "lock", "snapshots", "aio"], NOT_CONNECTED),
    **dict.fromkeys(["read_only", "members", "pending"], NOT_CONNECTED),
}


def forked(store: Path) -> dict[str, Any]:
    """What the child of a parent that has the store open was told; the parent must come to its end."""
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
    return {name: tuple(answer) for name, answer in json.loads(said).items()}


def test_a_fork_of_a_daemon_s_client(tmp_path: Path) -> None:
    with stores(tmp_path, "daemon"):
        said = forked(tmp_path / "store")
        assert said.pop("anew") == ("answered", repr(b"was here"))
        assert said == SAID


def test_a_fork_of_a_store_s_owner(tmp_path: Path) -> None:
    with stores(tmp_path, "local") as opened:
        said = forked(tmp_path / "store")
        # Its parent owns the store, and one process alone may.
        assert said.pop("anew") == ("rados.TimedOut", 110)
        assert said == SAID
        with opened() as store:
            assert store.check() == []
            assert store.open("rbdimage/disk").read(0, 5) == b"after"
