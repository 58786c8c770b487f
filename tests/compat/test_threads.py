"""Blocking calls in native threads and under eventlet: each lets the others go on, and none waits in vain."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from compat.stores import stores
from cowshed.compat import rados, rbd

PATIENCE = 60.0
MIB = 1 << 20


@contextmanager
def heartbeat() -> Iterator[Callable[[], int]]:
    """A thread that counts. None is made to give up the GIL meanwhile: it counts only where one does."""
    counted, over = [0], threading.Event()

    def count() -> None:
        while not over.is_set():
            counted[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    # Before it begins: a wait that has begun asks for the GIL after the time that held then.
    sys.setswitchinterval(1000)
    try:
        thread.start()
        yield lambda: counted[0]
    finally:
        sys.setswitchinterval(interval)
        over.set()
        thread.join()


def lets_go(call: Callable[[], object], beats: Callable[[], int], tries: int | None = None) -> bool:
    """Whether others go on during the call: in one of many, as a short one may be over before they wake."""
    deadline = time.monotonic() + PATIENCE
    while tries is None or tries > 0:
        before = beats()
        call()
        if beats() > before:
            return True
        if tries is not None:
            tries -= 1
        elif time.monotonic() > deadline:
            return False
    return False


@pytest.mark.parametrize("way", ["local", "daemon"])
def test_blocking_calls_release_the_gil(tmp_path: Path, way: str) -> None:
    with stores(tmp_path, way), ExitStack() as stack:
        client = stack.enter_context(rados.Rados(conf={"cowshed": str(tmp_path / "store")}))
        ioctx = stack.enter_context(client.open_ioctx("rbdimage"))
        pool = rbd.RBD()
        pool.create(ioctx, "disk", 32 * MIB)
        image = stack.enter_context(rbd.Image(ioctx, "disk"))
        image.create_snap("s")
        number = iter(range(1 << 30))

        def made_and_removed() -> None:
            name = f"made-{next(number)}"
            pool.create(ioctx, name, MIB)
            pool.remove(ioctx, name)

        def written() -> None:
            image.write(os.urandom(MIB), next(number) % 16 * MIB)

        calls: dict[str, Callable[[], object]] = {
            "write": written,
            "read": lambda: image.read(0, 16 * MIB),
            "flush": lambda: (image.write(b"x", 0), image.flush()),
            "discard": lambda: image.discard(0, 16 * MIB),
            "diff": lambda: image.diff_iterate(0, 32 * MIB, "s", lambda *_: None),
            "snapshot": lambda: (image.create_snap("t"), image.remove_snap("t")),
            "stat": image.stat,
            "create": made_and_removed,
            "list": lambda: pool.list(ioctx),
            "objects": lambda: (ioctx.write_full("note", b"x" * 65536), ioctx.read("note")),
            "df": lambda: client.mon_command('{"prefix": "df"}', b""),
        }
        with heartbeat() as beats:
            # What does not give it up is found out: the test can fail.
            assert not lets_go(lambda: sum(range(200_000)), beats, tries=5)
            assert [name for name, call in calls.items() if not lets_go(call, beats)] == []


@pytest.mark.parametrize("way", ["local", "daemon"])
def test_many_calls_are_under_way_at_once(tmp_path: Path, way: str) -> None:
    """Each of eight calls on one image, and as many on others, waits in its callback for all the others."""
    with stores(tmp_path, way), ExitStack() as stack:
        client = stack.enter_context(rados.Rados(conf={"cowshed": str(tmp_path / "store")}))
        ioctx = stack.enter_context(client.open_ioctx("rbdimage"))
        images = []
        for name in ("one", "two"):
            rbd.RBD().create(ioctx, name, 4 * MIB)
            images.append(stack.enter_context(rbd.Image(ioctx, name)))
            images[-1].write(b"x", 0)
        all_in = threading.Barrier(17)
        failures: list[BaseException] = []

        def wait(*_: Any) -> None:
            all_in.wait(PATIENCE)

        def look(image: Any) -> None:
            try:
                image.diff_iterate(0, 4096, None, wait)  # one extent, one call
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=look, args=[image]) for image in images for _ in range(8)]
        for thread in threads:
            thread.start()
        # Meanwhile all else goes on, on the same images.
        for image in images:
            assert image.write(b"y" * 4096, MIB) == 4096
            assert image.read(MIB, 4) == b"yyyy"
            image.resize(5 * MIB)
            image.create_snap("meanwhile")
        all_in.wait(PATIENCE)
        for thread in threads:
            thread.join()
        assert failures == []


GREEN = """
import eventlet
eventlet.monkey_patch()
from eventlet import tpool
import os, random, sys
from cowshed.compat import rados, rbd

# As often as can be: whatever may come between two threads does.
sys.setswitchinterval(1e-6)
client = tpool.execute(lambda: rados.Rados(conf={"cowshed": sys.argv[1]}))
tpool.execute(client.connect)
ioctx = tpool.execute(client.open_ioctx, "rbdimage")
rbd.RBD().create(ioctx, "disk", 8 << 20)
image = tpool.execute(rbd.Image, ioctx, "disk")
proxy = tpool.Proxy(image)

# Green threads go on while native ones wait in calls: this one ends only when they have.
beats = [0]
def beat():
    while True:
        beats[0] += 1
        eventlet.sleep(0)
heart = eventlet.spawn(beat)
native = eventlet.patcher.original("threading")
enough = native.Event()
def told(*_):
    enough.wait(60)
def watch():
    goal = beats[0] + 100
    while beats[0] < goal:
        eventlet.sleep(0)
    enough.set()
image.write(b"x", 0)
eventlet.spawn(watch)
tpool.execute(image.diff_iterate, 0, 8 << 20, None, told)
print("green threads went on", enough.is_set())

# Many green threads, some of them through tpool, some by themselves; growing the image meanwhile.
def work(n):
    direct = n % 4 == 0
    target = image if direct else proxy
    for turn in range(25):
        target.write(bytes([n]) * 4096, n * 4096)
        assert target.read(n * 4096, 4096) == bytes([n]) * 4096
        if turn % 5 == 0:
            call = (ioctx.write_full, f"o{n}", b"x")
            call[0](*call[1:]) if direct else tpool.execute(*call)
        if n == 1:
            proxy.resize((9 + turn) << 20)
            proxy.read((8 + turn) << 20, 4096)
    return True
pool = eventlet.GreenPool(24)
print("worked", sum(pool.imap(work, range(1, 25))))

# Asynchronous calls that were begun in any thread end in any other.
seen = []
def begun(n):
    return image.aio_read(n * 4096, 1, lambda c, data: seen.append(data))
def begun_object(n):
    return ioctx.aio_read(f"o{n}", 1, 0, lambda c, data: seen.append(data))
for begin in (begun, begun_object):
    completions = [begin(1), tpool.execute(begin, 2), begin(3), tpool.execute(begin, 4)]
    for at, completion in enumerate(completions):
        (tpool.execute if at < 2 else lambda call: call())(completion.wait_for_complete_and_cb)
print("completed", len(seen))
heart.kill()
tpool.execute(image.close)
ioctx.close()
client.shutdown()
print("closed")
"""


# Not imported here: from then on it would have something to say to each fork of this process.
@pytest.mark.skipif(find_spec("eventlet") is None, reason="eventlet is not installed")
@pytest.mark.parametrize("way", ["local", "daemon"])
def test_under_eventlet(tmp_path: Path, way: str) -> None:
    """As the services of OpenStack run: all is patched, calls go through tpool, and some do not."""
    with stores(tmp_path, way):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", GREEN, tmp_path / "store"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "green threads went on True",
        "worked 24",
        "completed 8",
        "closed",
    ]
