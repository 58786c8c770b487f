"""`qemu-img` of the folder: the real one, for images that only librbd's driver could name."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from compat.entering import Cluster, clustered
from cowshed.cli.verbs.compat import PROGRAMS
from cowshed.compat.conf import Conf
from cowshed.compat.finding import find
from cowshed.errors import InvalidArgument
from cowshed.opening import open_directly
from cowshed.programs.qemu_img import _size
from cowshed.programs.qemu_names import parse_name
from cowshed.store import ImageSpec, SnapSpec, Store

if not shutil.which("qemu-img"):
    pytest.skip("qemu-img is not installed", allow_module_level=True)

MIB = 1 << 20
CONTENT = random.Random(11).randbytes(5 * MIB) + bytes(20 * MIB) + random.Random(12).randbytes(3 * MIB)


@dataclass
class Place:
    """A store that is reached in some way, by a ceph.conf."""

    conf: Path
    folder: Path
    cluster: Cluster | None = None

    def name(self, image: str) -> str:
        return f"rbd:rbd/{image}:id=cinder:conf={self.conf}"

    def run(self, *words: str, limits: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [*limits, f"{PROGRAMS}/qemu-img", *words],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COWSHED_PYTHON": sys.executable},
            timeout=120,
        )
        assert "Traceback" not in ended.stderr
        return ended

    def __call__(self, *words: str) -> str:
        ended = self.run(*words)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    @contextmanager
    def opened(self) -> Iterator[Store]:
        """The store, as the programs find it."""
        conf = Conf(id="cinder")
        conf.read_file(self.conf)
        found = find(conf)
        try:
            yield found.store
        finally:
            found.release()

    def digest(self, image: str) -> str:
        with self.opened() as store, store.open(image, read_only=True) as opened:
            return hashlib.sha256(opened.read(0, opened.size)).hexdigest()


@pytest.fixture(params=["tls", "insecure", "daemon", "alone"])
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    conf = tmp_path / "ceph.conf"
    if request.param == "alone":
        open_directly(tmp_path / "store", create=True).close()
        conf.write_text(f"[client]\ncowshed = {tmp_path}/store\n")
        yield Place(conf, tmp_path)
        return
    with clustered(tmp_path, *(["--insecure"] if request.param == "insecure" else [])) as cluster:
        if request.param == "daemon":
            conf.write_text(f"[client.cinder]\ncowshed = {cluster.store}\n")
        else:
            shutil.copy(cluster.conf("cinder"), conf)
        yield Place(conf, tmp_path, cluster)


def test_there_and_back(place: Place) -> None:
    """Raw and qcow2 into the store, the image and its snapshot out of it; compared by hash."""
    source, wanted = place.folder / "source", hashlib.sha256(CONTENT).hexdigest()
    source.write_bytes(CONTENT)
    place("convert", "-f", "raw", "-O", "raw", str(source), place.name("a"))
    assert place.digest("a") == wanted
    place("convert", "-f", "raw", "-O", "qcow2", place.name("a"), str(place.folder / "a.qcow2"))
    place("convert", "-O", "raw", str(place.folder / "a.qcow2"), place.name("b"))
    assert place.digest("b") == wanted
    with place.opened() as store:
        store.create_snapshot("b@s")
        store.resize("b", 64 * MIB)
        store.create("c", 64 * MIB)
    place("convert", "-p", "-f", "raw", place.name("b@s"), "-O", "raw", str(place.folder / "out"))
    assert hashlib.sha256((place.folder / "out").read_bytes()).hexdigest() == wanted
    place("convert", "-n", "-f", "raw", "-O", "raw", place.name("b"), place.name("c"))
    assert place.digest("c") == place.digest("b")
    assert (
        place("compare", "-f", "raw", "-F", "raw", place.name("c"), place.name("b"))
        == "Images are identical.\n"
    )


def test_looking_making_and_resizing(place: Place) -> None:
    place("create", "-f", "raw", place.name("a"), "1G")
    assert json.loads(place("info", "--output=json", "-f", "raw", place.name("a")))["virtual-size"] == 1 << 30
    place("resize", "-f", "raw", place.name("a"), "+512M")
    place("resize", "--shrink", place.name("a"), "1.25G")
    assert json.loads(place("info", "--output=json", place.name("a")))["virtual-size"] == 5 << 28
    assert place.run("resize", place.name("a"), "1G").returncode == 1
    assert place.run("create", place.name("a"), "1G").returncode == 1
    missing = place.run("info", place.name("none"))
    assert (missing.returncode, "none" in missing.stderr) == (1, True)


def test_within_the_limits_that_nova_and_cinder_set(place: Place) -> None:
    """1 GiB of addresses and 30 s: an image from outside may be made to harm who looks at it."""
    place("create", "-f", "raw", place.name("a"), "100G")
    limits = ["prlimit", f"--as={1 << 30}", "--cpu=30"]
    info = place.run("info", "--force-share", "--output=json", "-f", "raw", place.name("a"), limits=limits)
    assert info.returncode == 0, info.stderr
    assert json.loads(info.stdout)["virtual-size"] == 100 << 30
    # They do hold.
    tight = place.run("info", place.name("a"), limits=["prlimit", f"--as={8 << 20}"])
    assert tight.returncode != 0


def test_the_rest_is_the_real_ones(tmp_path: Path) -> None:
    place = Place(tmp_path / "conf", tmp_path)
    real = subprocess.run(
        ["/usr/bin/env", "qemu-img", "--version"], capture_output=True, text=True, check=True
    )
    assert place("--version") == real.stdout
    place("create", "-f", "qcow2", str(tmp_path / "x"), "1G")
    assert json.loads(place("info", "--output=json", str(tmp_path / "x")))["format"] == "qcow2"
    bad = place.run("check", str(tmp_path / "conf"))
    assert (
        bad.returncode
        == subprocess.run(
            ["qemu-img", "check", str(tmp_path / "conf")], capture_output=True, check=False
        ).returncode
    )


def test_exit_status_and_signals_are_passed_on(tmp_path: Path) -> None:
    """With a stand-in for the real program, which tells what it was given and how it is to end."""
    open_directly(tmp_path / "store", create=True).close()
    with open_directly(tmp_path / "store") as store:
        store.create("a", MIB)
    (tmp_path / "conf").write_text(f"cowshed = {tmp_path}/store\n")
    (tmp_path / "bin").mkdir()
    stand_in = tmp_path / "bin" / "qemu-img"
    stand_in.write_text('#!/bin/sh\n[ "$1" = bench ] || exit 42\necho "$@"\nexec sleep 60\n')
    stand_in.chmod(0o755)
    path = f"{PROGRAMS}:{tmp_path}/bin:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COWSHED_PYTHON": sys.executable}
    name = f"rbd:rbd/a:conf={tmp_path}/conf"
    assert subprocess.run(["qemu-img", "check", name], env=environment, check=False).returncode == 42
    running = subprocess.Popen(
        ["qemu-img", "bench", name], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout
    with running.stdout:
        url = running.stdout.readline().split()[1]
        assert url.startswith("nbd+unix:///rbd/a?socket=")
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 128 + signal.SIGTERM
    assert not Path(url.rpartition("=")[2]).parent.exists()
    # The store is let go of.
    deadline = time.monotonic() + 60
    open_directly(tmp_path / "store", wait_seconds=deadline - time.monotonic()).close()


@pytest.mark.parametrize(
    ("text", "spec", "options"),
    [
        ("rbd:vms/disk", ImageSpec("vms", "", "disk"), {}),
        ("rbd:vms/space/disk@s", SnapSpec("vms", "space", "disk", "s"), {}),
        (
            "rbd:vms/disk@s:id=nova:conf=/etc/ceph/ceph.conf",
            SnapSpec("vms", "", "disk", "s"),
            {"id": "nova", "conf": "/etc/ceph/ceph.conf"},
        ),
        (
            r"rbd:v\m/d\:i\\:mon_host=10.0.0.1\:6789\;10.0.0.2\:6789",
            ImageSpec("vm", "", "d:i\\"),
            {"mon_host": "10.0.0.1:6789;10.0.0.2:6789"},
        ),
        ("rbd:p/i:key=AQ==:id=a", ImageSpec("p", "", "i"), {"key": "AQ==", "id": "a"}),
    ],
)
def test_names_are_read_as_qemu_reads_them(
    text: str, spec: ImageSpec | SnapSpec, options: dict[str, str]
) -> None:
    found = parse_name(text)
    assert (found.spec, dict(found.options)) == (spec, options)


@pytest.mark.parametrize(
    "text", ["rbd:", "rbd:image", "rbd:a/b@", "rbd:a/b:conf", "rbd:a/b:=x", "rbd:a/b/c/d"]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_name(text)


@pytest.mark.parametrize(
    ("text", "size"), [("512", 512), ("1k", 1024), ("1.5G", 3 << 29), ("+1M", 5 * MIB), ("-1M", 3 * MIB)]
)
def test_sizes(text: str, size: int) -> None:
    assert _size(text, 4 * MIB) == size


@pytest.mark.parametrize("text", ["", "x", "1X", "-8M", "1 G"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InvalidArgument):
        _size(text, 4 * MIB)
