"""Two processes with one image open, as two librbd clients have it; threads; a fork."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compat.pools import Pool
from compat.stores import stores
from cowshed.compat.rbd import errors
from cowshed.compat.rbd.constants import RBD_LOCK_MODE_EXCLUSIVE
from cowshed.compat.rbd.image import Image
from cowshed.store import Store

TESTS = Path(__file__).parent.parent
OTHER = """
import json, sys
import cowshed
from compat.pools import Pool
from cowshed.compat.rbd import errors
from cowshed.compat.rbd.constants import RBD_LOCK_MODE_EXCLUSIVE
from cowshed.compat.rbd.image import Image
with cowshed.open(sys.argv[1]) as store:
    image = Image(Pool(store), "disk")
    print("open", flush=True)
    for line in sys.stdin:
        try:
            answer = repr(eval(line, globals()))
        except errors.Error as error:
            answer = type(error).__name__
        print(json.dumps(answer), flush=True)
    image.close()
"""


class Other:
    """Another process, which has the image open and does as it is told."""

    def __init__(self, store: Store) -> None:
        path = os.pathsep.join([*sys.path, str(TESTS)])
        self._process = subprocess.Popen(
            [sys.executable, "-c", OTHER, store.target],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert self._line() == "open"

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def does(self, call: str) -> str:
        assert self._process.stdin
        print(call, file=self._process.stdin, flush=True)
        answer = json.loads(self._line())
        assert isinstance(answer, str)
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        self._end()

    def _end(self) -> None:
        self._process.wait(60)
        if self._process.stdout:
            self._process.stdout.close()
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with stores(tmp_path, "daemon") as open_store, open_store() as store:
        store.create("rbdimage/disk", 8 << 20)
        yield store


@contextmanager
def another(store: Store) -> Iterator[Other]:
    other = Other(store)
    try:
        yield other
    finally:
        other.close()


def test_the_lock_goes_to_whoever_writes(store: Store) -> None:
    with another(store) as other, Image(Pool(store), "disk") as image:
        for turn in range(5):
            assert image.write(b"mine %d" % turn, 0) == 6
            assert image.is_exclusive_lock_owner()
            assert other.does("image.is_exclusive_lock_owner()") == "False"
            assert other.does("image.read(0, 6)") == repr(b"mine %d" % turn)
            assert other.does(f"image.write(b'your {turn}', 0)") == "6"
            assert other.does("image.is_exclusive_lock_owner()") == "True"
            assert not image.is_exclusive_lock_owner()
            assert image.read(0, 6) == b"your %d" % turn
        assert len(list(image.watchers_list())) == 2
        (owner,) = image.lock_get_owners()
        assert owner["owner"] in [watcher["addr"] for watcher in image.watchers_list()]


def test_who_asked_for_the_lock_keeps_it(store: Store) -> None:
    with another(store) as other, Image(Pool(store), "disk") as image:
        assert other.does("image.lock_acquire(RBD_LOCK_MODE_EXCLUSIVE)") == "None"
        with pytest.raises(errors.ReadOnlyImage):
            image.write(b"x", 0)
        with pytest.raises(errors.ReadOnlyImage):
            image.discard(0, 4096)
        image.create_snap("meanwhile")
        image.resize(9 << 20)
        assert other.does("image.size()") == str(9 << 20)
        assert other.does("image.write(b'kept', 0)") == "4"
        assert other.does("image.lock_release()") == "None"
        assert image.write(b"x", 0) == 1
        # It asked by itself, and does not take the lock again unasked.
        assert other.does("image.write(b'kept', 0)") == "ReadOnlyImage"


@pytest.mark.skipif(shutil.which("qemu-io") is None, reason="qemu-io (Debian's qemu-utils) is not installed")
def test_qemu_is_handed_the_lock_as_by_librbd(store: Store) -> None:
    socket = Path(store.target) / "nbd.sock"
    command = ["qemu-io", "-f", "raw", f"nbd+unix:///rbdimage/disk?socket={socket}"]
    with (
        Image(Pool(store), "disk") as image,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as qemu,
    ):
        assert qemu.stdin
        assert qemu.stdout
        said = qemu.stdout
        pattern = 0

        def qemu_writes() -> bool:
            nonlocal pattern
            pattern += 1
            print(f"write -P {pattern} 0 4096", file=qemu.stdin, flush=True)
            while "4096/4096" not in (line := said.readline()) and "failed" not in line:
                assert line
            return "wrote" in line

        for _ in range(3):
            assert image.write(b"mine", 0) == 4
            assert image.is_exclusive_lock_owner()
            assert qemu_writes()
            assert not image.is_exclusive_lock_owner()
            (owner,) = image.lock_get_owners()
            assert owner["owner"] in [watcher["addr"] for watcher in image.watchers_list()]
            assert image.read(0, 4096) == bytes([pattern]) * 4096
        # Who asked for it by itself keeps it from qemu, too.
        image.lock_acquire(RBD_LOCK_MODE_EXCLUSIVE)
        assert not qemu_writes()
        assert image.read(0, 1) == bytes([pattern - 1])
        image.lock_release()
        assert qemu_writes()
        qemu.stdin.write("quit\n")
        qemu.stdin.flush()
        qemu.wait(60)


def test_a_broken_lock_is_lost(store: Store) -> None:
    with another(store) as other, Image(Pool(store), "disk") as image:
        other.does("image.lock_acquire(RBD_LOCK_MODE_EXCLUSIVE)")
        (owner,) = image.lock_get_owners()
        image.lock_break(RBD_LOCK_MODE_EXCLUSIVE, owner["owner"])
        assert image.write(b"mine", 0) == 4
        assert other.does("image.write(b'x', 0)") == "ReadOnlyImage"


def test_who_is_killed_leaves_nothing(store: Store) -> None:
    other = Other(store)
    with Image(Pool(store), "disk") as image:
        other.does("image.lock_acquire(RBD_LOCK_MODE_EXCLUSIVE)")
        other.kill()
        done = threading.Event()
        for _ in range(200):
            try:
                image.write(b"mine", 0)
                break
            except errors.ReadOnlyImage:
                done.wait(0.1)
        assert image.read(0, 4) == b"mine"
        assert image.is_exclusive_lock_owner()


def test_writers_of_many_threads_and_processes(store: Store) -> None:
    with another(store) as other, Image(Pool(store), "disk") as image:
        failures: list[BaseException] = []

        def write(number: int) -> None:
            try:
                for turn in range(20):
                    image.write(bytes([number]) * 4096, (number * 20 + turn) * 4096)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 5)]
        for thread in threads:
            thread.start()
        assert other.does("[image.write(b'\\xff' * 4096, turn * 4096) for turn in range(20)]")
        for thread in threads:
            thread.join()
        assert failures == []
        for number in range(1, 5):
            assert image.read(number * 20 * 4096, 20 * 4096) == bytes([number]) * 20 * 4096
        assert image.read(0, 20 * 4096) == b"\xff" * 20 * 4096


def test_a_renamed_image_stays_open(store: Store) -> None:
    with Image(Pool(store), "disk") as image:
        store.rename("rbdimage/disk", "rbdimage/renamed")
        store.create("rbdimage/disk", 4 << 20)
        image.create_snap("s")
        image.write(b"x", 0)
        assert image.get_name() == "renamed"
        assert image.size() == 8 << 20
        assert [snap.name for snap in store.snapshots("rbdimage/renamed")] == ["s"]


def test_a_removed_image_is_not_found(store: Store) -> None:
    with Image(Pool(store), "disk", read_only=True) as image:
        store.remove("rbdimage/disk")
        for call in (image.stat, image.get_name, lambda: image.read(0, 1), image.parent_info):
            with pytest.raises(errors.ImageNotFound):
                call()
        # As librbd, which knows from its opening what is open read-only.
        assert image.features()
        assert image.stripe_count() == 1


@pytest.mark.parametrize("way", ["local", "daemon"])
def test_a_forked_process_is_told(tmp_path: Path, way: str) -> None:
    with stores(tmp_path, way) as open_store, open_store() as store:
        store.create("rbdimage/disk", 8 << 20)
        with Image(Pool(store), "disk") as image:
            image.write(b"x", 0)
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                said = "nothing"
                try:
                    image.read(0, 1)
                except errors.OSError as error:
                    said = f"{error.errno}"
                image.close()
                os.write(writer, said.encode())
                os._exit(0)
            os.close(writer)
            os.waitpid(child, 0)
            assert os.read(reader, 100) == b"107"
            os.close(reader)
            assert image.write(b"still", 0) == 5
            assert image.is_exclusive_lock_owner()
