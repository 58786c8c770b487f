"""qemu's tools against the server: 8.2 and later take extended headers, older ones structured replies."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from nbd.commands import attempt, run
from nbd.serving import BLOCK, Served, Way, allocation, difference, runs

MiB = 1 << 20


def patchwork(rng: random.Random, count: int) -> bytearray:
    """Blocks of random bytes, and of zeros in between."""
    return bytearray(
        b"".join(rng.randbytes(BLOCK) if rng.random() < 0.5 else bytes(BLOCK) for _ in range(count))
    )


def qemu_map(way: Way, options: str) -> list[tuple[int, int, int]]:
    """`qemu-img map`: offset, length, and 0 for data."""
    said = json.loads(run("qemu-img", "map", "--output=json", *way.qemu_objects, "--image-opts", options))
    flags = [int(not piece["data"]) for piece in said for _ in range(piece["length"] // BLOCK)]
    return runs(flags)


def test_info(served: Served, way: Way) -> None:
    served.disk("pool/disk", 10 * MiB + 512)
    words = [*way.qemu_objects, "--image-opts", way.qemu("pool/disk")]
    said = json.loads(run("qemu-img", "info", "--output=json", *words))
    assert said["virtual-size"] == 10 * MiB + 512
    assert said["format"] == "nbd"


def test_a_refusal_reaches_the_user_in_words(served: Served, way: Way) -> None:
    ended = attempt("qemu-img", "info", *way.qemu_objects, "--image-opts", way.qemu("pool/nothing"))
    assert ended.returncode == 1
    assert "there is no export 'pool/nothing'" in ended.stderr


def test_lists_exports_with_their_contexts(served: Served, way: Way) -> None:
    served.disk("pool/disk", 3 * MiB)
    served.snapshot("pool/disk@s1")
    words = [*way.qemu_objects, "-L"]
    if way.certificates:
        words += ["--tls-creds", "tls", "--tls-hostname", "localhost"]
    words += ["-k", way.host] if way.kind == "unix" else ["-b", way.host, "-p", str(way.port)]
    lines = [line.strip() for line in run("qemu-nbd", *words).splitlines()]
    assert "exports available: 2" in lines
    for expected in (
        "export: 'pool/disk'",
        "export: 'pool/disk@s1'",
        "description: this is pool/disk",
        f"size:  {3 * MiB}",
        "min block: 1",
        f"opt block: {BLOCK}",
        f"max block: {32 * MiB}",
        "base:allocation",
        "cowshed:diff:s1",
        "transaction size: 64-bit",
    ):
        assert expected in lines, expected
    (flags,) = {line for line in lines if line.startswith("flags:") and "readonly" not in line}
    for flag in (
        "flush",
        "fua",
        "trim",
        "zeroes",
        "df",
        "multi",
        "cache",
        "fast-zero",
        "block-status-payload",
    ):
        assert f" {flag} " in f"{flags} ".replace(")", " )")


def test_convert_in_compare_and_convert_out(
    served: Served, way: Way, tmp_path: Path, rng: random.Random
) -> None:
    content = bytes(patchwork(rng, 2000))
    served.disk("pool/disk", len(content))
    (tmp_path / "in").write_bytes(content)
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", tmp_path / "in", tmp_path / "in.qcow2")
    there = [*way.qemu_objects, "--target-image-opts", "-n", tmp_path / "in.qcow2", way.qemu("pool/disk")]
    run("qemu-img", "convert", "-f", "qcow2", *there)
    assert served.content("pool/disk") == content
    back = [*way.qemu_objects, "--image-opts", "-O", "raw", way.qemu("pool/disk"), tmp_path / "out"]
    run("qemu-img", "convert", "-W", "-m", "8", *back)
    assert (tmp_path / "out").read_bytes() == content
    compare = [
        *way.qemu_objects,
        "--image-opts",
        way.qemu("pool/disk"),
        f"driver=raw,file.filename={tmp_path}/in",
    ]
    assert "identical" in run("qemu-img", "compare", *compare)
    served.write("pool/disk", 5 * MiB, b"other")
    ended = attempt("qemu-img", "compare", *compare)
    assert (ended.returncode, ended.stderr) == (1, "")


def test_map(served: Served, way: Way, rng: random.Random) -> None:
    content = bytes(patchwork(rng, 2000))
    served.disk("pool/disk", len(content), content)
    expected = [(offset, length, int(flags > 0)) for offset, length, flags in allocation(content)]
    assert qemu_map(way, way.qemu("pool/disk")) == expected


def test_incremental_backup(served: Served, way: Way, tmp_path: Path, rng: random.Random) -> None:
    """A full backup of one snapshot and what changed until the next: together they are the next."""
    first = patchwork(rng, 2000)
    served.disk("pool/disk", len(first), bytes(first))
    served.snapshot("pool/disk@s1")
    second = bytearray(first)
    for _ in range(8):
        start = rng.randrange(1900) * BLOCK
        data = rng.choice([bytes(9 * BLOCK), rng.randbytes(BLOCK), rng.randbytes(17 * BLOCK)])
        second[start : start + len(data)] = data
        served.write("pool/disk", start, data)
    served.snapshot("pool/disk@s2")
    served.write("pool/disk", 0, rng.randbytes(MiB))
    backup = tmp_path / "backup"
    objects = way.qemu_objects
    run("qemu-img", "convert", *objects, "--image-opts", "-O", "raw", way.qemu("pool/disk@s1"), backup)
    assert backup.read_bytes() == first
    options = way.qemu("pool/disk@s2", **{"x-dirty-bitmap": "cowshed:diff:s1"})
    # What the context marks, qemu shows as a hole.
    changed = qemu_map(way, options)
    assert changed == difference(first, second)
    for offset, length, flag in changed:
        if flag:
            window = f"driver=raw,offset={offset},size={length}"
            source = f"{window},{way.qemu('pool/disk@s2', 'file.')}"
            target = f"{window},file.driver=file,file.filename={backup}"
            words = [*objects, "-n", "--image-opts", "--target-image-opts", source, target]
            run("qemu-img", "convert", *words)
    assert backup.read_bytes() == second == served.content("pool/disk@s2")


def qemu_io(way: Way, export: str, *commands: str, **options: str) -> str:
    words = [word for command in commands for word in ("-c", command)]
    return run("qemu-io", *way.qemu_objects, "--image-opts", way.qemu(export, **options), *words)


def test_qemu_io_writes_zeroes_and_discards(served: Served, way: Way) -> None:
    served.disk("pool/disk", 4 * MiB, b"\xff" * 4 * MiB)
    oracle = bytearray(b"\xff" * 4 * MiB)

    def put(start: int, length: int, byte: int) -> None:
        oracle[start << 10 : (start + length) << 10] = bytes([byte]) * (length << 10)

    steps = [
        ("write -P 0x11 0 64k", 0, 64, 0x11),
        ("write -f -P 0x12 1k 6k", 1, 6, 0x12),
        ("write -z 100k 50k", 100, 50, 0),
        ("write -z -u 200k 64k", 200, 64, 0),
        ("write -z -n 300k 8k", 300, 8, 0),
        ("write -z -n -u 331k 3k", 331, 3, 0),
        ("write -z -f 401k 7k", 401, 7, 0),
        ("discard 500k 100k", 500, 100, 0),
        ("aio_write -P 0x21 700k 300k", 700, 300, 0x21),
        ("aio_write -z -u 1100k 11k", 1100, 11, 0),
        ("aio_write -f -P 0x22 1200k 1k", 1200, 1, 0x22),
        ("aio_write -P 0x23 1300k 1900k", 1300, 1900, 0x23),
    ]
    reads = []
    for _, start, length, byte in steps:
        put(start, length, byte)
        reads += [f"read -P {byte} {start}k {length}k", f"aio_read -P {byte} {start}k {length}k"]
    # Writes below the length of a block, as they come.
    commands = [command for command, *_ in steps]
    said = qemu_io(way, "pool/disk", *commands, "aio_flush", "flush", "read -P 0x12 2k 1k", discard="unmap")
    assert "failed" not in said
    oracle_after_first = bytes(oracle)
    assert served.content("pool/disk") == oracle_after_first
    again = [read for read in reads if read != "read -P 17 0k 64k" and read != "aio_read -P 17 0k 64k"]
    said = qemu_io(way, "pool/disk", *again, "aio_flush")
    assert "failed" not in said
    assert said.count("bytes at offset") == len(again)
    # It would have said so.
    assert "failed" in qemu_io_says(way, "pool/disk", "read -P 0x77 0 1k")


def qemu_io_says(way: Way, export: str, *commands: str) -> str:
    words = [word for command in commands for word in ("-c", command)]
    ended = attempt("qemu-io", *way.qemu_objects, "--image-opts", way.qemu(export), *words)
    return ended.stdout + ended.stderr


def test_qemu_io_unmaps(served: Served, way: Way) -> None:
    """Discarding and zeroes give space back, up to the blocks that they cover wholly."""
    head = served.disk("pool/disk", 4 * MiB, b"\xff" * MiB)
    assert served.kernel.version(head).mapped_blocks == 256
    qemu_io(way, "pool/disk", "discard 0 64k", "write -z -u 64k 64k", "flush", discard="unmap")
    assert served.kernel.version(head).mapped_blocks == 256 - 32


def test_a_snapshot_is_not_written(served: Served, way: Way) -> None:
    served.disk("pool/disk", MiB, b"\x11" * MiB)
    served.snapshot("pool/disk@s1")
    said = qemu_io_says(way, "pool/disk@s1", "write -P 1 0 4k")
    assert "Permission denied" in said
    assert served.content("pool/disk@s1") == b"\x11" * MiB


@pytest.mark.parametrize("name", ["nameless", "strange", "plain"])
def test_who_has_no_certificate_stays_outside(served: Served, name: str) -> None:
    served.disk("pool/disk", MiB, b"\x11" * MiB)
    way = served.ways[name]
    words = [*way.qemu_objects, "--image-opts", way.qemu("pool/disk")]
    ended = attempt("qemu-img", "info", *words)
    assert ended.returncode == 1
    if name == "plain":
        assert "this server talks TLS only" in ended.stderr
    assert served.names.opened == 0


@pytest.mark.parametrize("name", ["one-sided", "opportunistic"])
def test_where_only_the_server_must_prove_itself(served: Served, name: str) -> None:
    served.disk("pool/disk", MiB, b"\x11" * MiB)
    assert "failed" not in qemu_io(served.ways[name], "pool/disk", "read -P 0x11 0 1M", "write -P 7 0 1M")
    assert served.content("pool/disk") == b"\x07" * MiB
