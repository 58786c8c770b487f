"""`rbd` as drivers call it: the program of the folder, with a ceph.conf, a user and a keyring."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.conftest import Ended
from compat.entering import Cluster, clustered
from cowshed.cli.verbs.compat import PROGRAMS
from cowshed.opening import open_directly

CONTENT = random.Random(5).randbytes(1 << 20) + bytes(2 << 20) + b"the end"


class Rbd:
    """The program, called with these options behind the verb, as drivers do."""

    def __init__(self, *options: str) -> None:
        self.options = options
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COWSHED_", "CEPH_"))}
        self.environment = {**kept, "COWSHED_PYTHON": sys.executable}

    def command(self, *words: object) -> list[str]:
        return [f"{PROGRAMS}/rbd", *map(str, words), *self.options]

    def run(self, *words: object, stdin: bytes = b"") -> Ended:
        ended = subprocess.run(
            self.command(*words), input=stdin, capture_output=True, env=self.environment, check=False
        )
        assert b"Traceback" not in ended.stderr
        return Ended(ended.returncode, ended.stdout, ended.stderr.decode())

    def __call__(self, *words: object, stdin: bytes = b"") -> Ended:
        ended = self.run(*words, stdin=stdin)
        assert ended.status == 0, ended.err
        return ended


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with clustered(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(params=["mon_host", "path"])
def rbd(cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest) -> Rbd:
    if request.param == "mon_host":
        return Rbd("--id", "cinder", "--cluster", "ceph", "--conf", str(cluster.conf("cinder")))
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\ncowshed = {cluster.store}\n")
    return Rbd("--id", "nobody", "-c", str(conf))


@pytest.fixture
def name(rbd: Rbd, request: pytest.FixtureRequest) -> str:
    """A new image's name."""
    return hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


def test_images_are_imported_as_the_drivers_do(rbd: Rbd, name: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    rbd("import", "--pool", "rbd", "--order", "23", source, name, "--new-format")
    rbd("import", "--pool", "rbd", source, f"{name}-2", "--image-format=2")
    rbd("import", source, "--image-format", "2", "--dest", f"{name}-3", "--dest-pool", "rbd")
    assert json.loads(rbd("info", name, "--format=json").out)["order"] == 23
    out = tmp_path / "out"
    rbd("snap", "create", f"rbd/{name}-2@s")
    rbd("export", "--pool", "rbd", "--image", f"{name}-2", "--snap", "s", "--path", out)
    assert out.read_bytes() == CONTENT
    assert rbd("export", "--pool", "rbd", f"{name}-3", "-").out == CONTENT
    assert "format 1" in rbd.run("import", source, f"{name}-4", "--image-format", "1").err


def test_backups_go_through_a_pipe(rbd: Rbd, name: str) -> None:
    rbd("import", "-", f"rbd/{name}", stdin=CONTENT)
    rbd("create", "--size", "4", f"rbd/{name}-backup")
    rbd("resize", f"rbd/{name}-backup", "--size", f"{len(CONTENT)}B", "--allow-shrink")
    for snapshot, since in (("1", None), ("2", "1")):
        rbd("snap", "create", f"rbd/{name}@{snapshot}")
        start = ["--from-snap", since] if since else []
        source = subprocess.Popen(
            rbd.command("export-diff", "--pool", "rbd", *start, f"rbd/{name}@{snapshot}", "-"),
            stdout=subprocess.PIPE,
            env=rbd.environment,
        )
        sink = subprocess.run(
            rbd.command("import-diff", "--pool", "rbd", "-", f"rbd/{name}-backup"),
            stdin=source.stdout,
            env=rbd.environment,
            check=False,
        )
        assert source.stdout
        source.stdout.close()
        assert (source.wait(), sink.returncode) == (0, 0)
        assert rbd("export", f"{name}-backup", "-").out == rbd("export", f"{name}@{snapshot}", "-").out
        rbd("bench", name, "--io-type", "write", "--io-total", "64K")
    assert "@9'" in rbd.run("export-diff", "--from-snap", "9", f"rbd/{name}", "-").err


def test_status_and_exit_codes(rbd: Rbd, name: str) -> None:
    rbd("create", name, "--size", "1G")
    assert json.loads(rbd("status", "--pool", "rbd", "--format=json", name).out) == {"watchers": []}
    assert rbd.run("create", name, "--size", "1G").status == 17
    missing = rbd.run("info", f"{name}-none")
    assert missing.status == 2
    assert missing.err.startswith("rbd: info: ")
    assert rbd.run("frobnicate").status == 22
    assert name in rbd("ls", "rbd").text.split()


def test_options_of_a_verb_stand_before_it_too(rbd: Rbd, name: str) -> None:
    rbd("namespace", "create", f"rbd/{name}")
    rbd("create", "--size", "1M", "-p", "rbd", "--namespace", name, "disk")
    for options in (["-p", "rbd"], ["--pool=rbd"], ["--format", "json", "--pool", "rbd"]):
        listed = rbd(*options, "--namespace", name, "ls").out.decode()
        assert listed.strip() == ('["disk"]' if "json" in options else "disk")
    rbd("snap", "create", f"rbd/{name}/disk@s")
    place = ["--pool", "rbd", "--namespace", name, "--image", "disk"]
    snapshots = json.loads(rbd(*place, "--format=json", "snap", "ls").out)
    assert [each["name"] for each in snapshots] == ["s"]
    rbd(*place, "--snap", "s", "--no-progress", "snap", "rm")
    assert json.loads(rbd("snap", "ls", f"rbd/{name}/disk", "--format", "json").out) == []
    assert rbd.run("--pool").status == 22


def test_overrides_of_the_configuration(rbd: Rbd, name: str) -> None:
    rbd("create", name, "--size", "1G", "--rbd_default_order=24", "--debug-rbd", "0/0")
    assert json.loads(rbd("info", name, "--format=json").out)["order"] == 24
    rbd("create", f"{name}-2", "--size", "1G", "--rbd-default-order", "24", "--order", "20")
    assert json.loads(rbd("info", f"{name}-2", "--format=json").out)["order"] == 20
    assert rbd.run("ls", "--rbd_default_order=much").status == 22


def shown(rbd: Rbd, image: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(rbd("info", image, "--format=json").out)
    return found


def test_what_the_configuration_says_of_new_images(rbd: Rbd, name: str, tmp_path: Path) -> None:
    """As with the module; the line goes before the configuration."""

    def info(image: str) -> dict[str, object]:
        return shown(rbd, image)

    rbd("create", name, "--size", "1M", "--rbd_default_features", "3", "--rbd_default_stripe_unit=4096")
    assert info(name)["features"] == ["layering"]
    line = ("--rbd_default_features=layering,exclusive-lock", "--stripe-unit", "64K", "--stripe-count", "2")
    rbd("create", f"{name}-2", "--size", "1M", *line)
    found = info(f"{name}-2")
    assert found["features"] == ["layering", "striping", "exclusive-lock"]
    assert (found["stripe_unit"], found["stripe_count"]) == (65536, 2)
    assert "stripe unit: 64 KiB\n\tstripe count: 2\n" in rbd("info", f"{name}-2").text
    rbd("create", f"{name}-3", "--size", "1M", "--image-feature", "layering", "--rbd_default_features=61")
    assert info(f"{name}-3")["features"] == ["layering"]
    stripes = ("--rbd_default_stripe_unit", "65536", "--rbd_default_stripe_count", "4")
    rbd("create", f"{name}-4", "--size", "1M", *stripes)
    assert info(f"{name}-4")["stripe_count"] == 4
    rbd("import", "-", f"{name}-5", "--rbd_default_features", "5", "--rbd_default_order=20", stdin=b"x")
    assert (info(f"{name}-5")["features"], info(f"{name}-5")["order"]) == (["layering", "exclusive-lock"], 20)
    assert rbd.run("create", f"{name}-6", "--size", "1M", "--stripe-unit", "64K").status == 22

    rbd("snap", "create", f"{name}@s")
    refused = rbd.run("clone", f"{name}@s", f"{name}-clone")
    assert (refused.status, "not protected" in refused.err) == (22, True)
    rbd("clone", f"{name}@s", f"{name}-clone", "--rbd_default_clone_format", "2", "--rbd_default_order=25")
    assert (info(f"{name}-clone")["op_features"], info(f"{name}-clone")["order"]) == (["clone-child"], 22)
    rbd("snap", "protect", f"{name}@s")
    rbd("clone", f"{name}@s", f"{name}-clone-2")
    assert info(f"{name}-clone-2")["op_features"] == []
    assert rbd.run("snap", "unprotect", f"{name}@s").status == 16


def test_what_is_set_for_a_pool_goes_before_the_configuration(tmp_path: Path) -> None:
    open_directly(tmp_path / "store", create=True).close()
    (tmp_path / "ceph.conf").write_text(f"cowshed = {tmp_path / 'store'}\n")
    rbd = Rbd("-c", str(tmp_path / "ceph.conf"))
    rbd("pool", "create", "vms")
    rbd("config", "pool", "set", "vms", "rbd_default_features", "5")
    rbd("config", "pool", "set", "vms", "rbd_default_clone_format", "2")
    rbd("create", "vms/a", "--size", "1M", "--rbd_default_features=1", "--rbd_default_order=20")
    found = shown(rbd, "vms/a")
    assert (found["order"], found["features"]) == (20, ["layering", "exclusive-lock"])
    rbd("snap", "create", "vms/a@s")
    rbd("clone", "vms/a@s", "vms/c", "--rbd_default_clone_format=1")
    assert shown(rbd, "vms/c")["op_features"] == ["clone-child"]


def test_the_keyring_lets_in(cluster: Cluster, tmp_path: Path) -> None:
    cluster.conf("cinder")
    ring = str(cluster.keyring("cinder"))
    for words in (
        ("-m", cluster.mon_host, "-n", "client.cinder", "-k", ring),
        ("--mon-host", f"{cluster.mon_host}/0", "--name=client.cinder", f"--keyring={ring}"),
        (f"-m{cluster.mon_host}", "--user", "cinder", "--key", cluster.key("cinder")),
    ):
        Rbd(*words)("ls")
    refused = Rbd("-m", cluster.mon_host, "--id", "glance", "-k", ring).run("ls")
    assert (refused.status, "no key for client.glance" in refused.err) == (2, True)
    missing = Rbd("-m", cluster.mon_host, "-k", f"{tmp_path}/gone").run("ls")
    assert (missing.status, "no keyring for client.admin" in missing.err) == (2, True)
    assert Rbd("-c", f"{tmp_path}/gone").run("ls").status == 2


def test_maps_of_this_host_are_listed(rbd: Rbd) -> None:
    assert rbd("showmapped", "--format", "json").json == []


def test_without_a_configuration_it_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "conf").write_text("[global]\n")
    ended = Rbd("-c", str(tmp_path / "conf")).run("ls")
    assert (ended.status, ended.err.startswith("rbd: ls: no store is named")) == (22, True)


def test_run_puts_the_look_alikes_in_front(tmp_path: Path) -> None:
    store = tmp_path / "store"
    open_directly(store, create=True).close()
    (tmp_path / "ceph.conf").write_text(f"cowshed = {store}\n")
    code = "import os, sys, shutil; print(os.environ['PYTHONPATH'], shutil.which('qemu-img'), sys.argv[1:])"
    command = [sys.executable, "-m", "cowshed", "compat", "run"]
    words = [*command, sys.executable, "-c", code, "--help", "--store", "x"]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    first, found, given = ended.stdout.split(maxsplit=2)
    assert first.partition(":")[0].endswith("/cowshed/compat/modules")
    assert found == f"{PROGRAMS}/qemu-img"
    assert given.strip() == "['--help', '--store', 'x']"
    words = [*command, "rbd", "-c", str(tmp_path / "ceph.conf"), "create", "a", "--size", "1G"]
    environment = {**os.environ, "COWSHED_PYTHON": sys.executable}
    subprocess.run(words, capture_output=True, check=True, env=environment)
    with open_directly(store) as opened:
        assert list(opened.images("rbd")) == ["a"]
    assert subprocess.run([*command, "no-such-program"], capture_output=True, check=False).returncode == 2
