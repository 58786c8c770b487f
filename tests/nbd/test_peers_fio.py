"""fio's engine for NBD (libnbd, with structured replies), which reads again what it wrote and compares."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbd.commands import attempt, run
from nbd.serving import Served, Way

SIZE = 8 << 20
PATTERN = "abcdefgh"


@pytest.fixture
def home(way: Way) -> Iterator[Path]:
    """A user's directory, where libnbd looks for certificates, as URIs in fio may not name files."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        if way.certificates:
            place = shutil.copytree(way.certificates, home / ".pki" / "libnbd")
            # A test's secrets are none, and may be a nobody's.
            for path in (home, *home.rglob("*"), place):
                path.chmod(0o777)
        yield home


def fio(way: Way, home: Path, *words: str) -> None:
    if "nbd" not in attempt("fio", "--enghelp").stdout.split():
        pytest.skip("fio was built without its NBD engine (Debian's package fio has it)")
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if way.kind != "tls" or os.geteuid() != 0:
        command = []
    uri = way.uri("pool/disk").partition("?tls-certificates")[0]
    command += [
        "fio",
        "--output-format=json",
        "--ioengine=nbd",
        "--thread",
        "--verify_state_save=0",
        f"--uri={uri}",
        *words,
    ]
    said = run(*command, env={**os.environ, "HOME": str(home)})
    # It makes remarks before the json.
    jobs = json.loads(said[said.index("{\n") :])["jobs"]
    assert [job["error"] for job in jobs] == [0]


def test_random_writes_are_what_they_were(served: Served, way: Way, home: Path) -> None:
    served.disk("pool/disk", SIZE)
    # Each block is written once, in any order.
    words = ["--name=w", "--rw=randwrite", "--bs=4k", "--iodepth=32", f"--size={SIZE}", "--randrepeat=0"]
    fio(
        way, home, *words, "--verify=pattern", f'--verify_pattern="{PATTERN}"', "--do_verify=1", "--fsync=200"
    )
    assert served.content("pool/disk") == PATTERN.encode() * (SIZE // len(PATTERN))


def test_reads_between_writes(served: Served, way: Way, home: Path) -> None:
    served.disk("pool/disk", SIZE)
    words = ["--name=w", "--rw=randrw", "--bs=4k", "--iodepth=16", f"--size={SIZE}", "--verify=crc32c"]
    fio(way, home, *words, "--verify_fatal=1", "--do_verify=1", "--verify_backlog=64")


def test_writes_of_all_lengths(served: Served, way: Way, home: Path) -> None:
    served.disk("pool/disk", SIZE)
    words = [
        "--name=w",
        "--rw=write",
        "--bsrange=512-256k",
        "--bs_unaligned",
        "--iodepth=16",
        f"--size={SIZE}",
    ]
    fio(way, home, *words, "--verify=crc32c", "--verify_fatal=1", "--do_verify=1")


def test_a_wrong_byte_is_noticed(served: Served, way: Way, home: Path) -> None:
    """So the tests above can fail."""
    served.disk("pool/disk", SIZE, PATTERN.encode() * (SIZE // len(PATTERN)))
    words = ["--name=r", "--rw=read", "--bs=64k", f"--size={SIZE}", "--verify=pattern"]
    words += [f'--verify_pattern="{PATTERN}"', "--verify_fatal=1"]
    fio(way, home, *words)
    served.write("pool/disk", 5000, b"X")
    with pytest.raises(AssertionError, match="verify"):
        fio(way, home, *words)
