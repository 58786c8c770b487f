"""nbdinfo and nbdcopy against the server.

Debian 12 has libnbd 1.14, whose clients ask for structured replies. Extended headers (libnbd 1.18 and later)
are taken by qemu's tools, in test_peers_qemu.py.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from nbd.commands import attempt, run
from nbd.serving import BLOCK, Served, Way, allocation, difference

MiB = 1 << 20
HUGE = 64 << 30


def patchwork(rng: random.Random, count: int) -> bytearray:
    """Blocks of random bytes, and of zeros in between."""
    return bytearray(
        b"".join(rng.randbytes(BLOCK) if rng.random() < 0.5 else bytes(BLOCK) for _ in range(count))
    )


def extents(text: str) -> list[tuple[int, int, int]]:
    """What `nbdinfo --map --json` says, neighbours that are alike put together."""
    merged: list[tuple[int, int, int]] = []
    for extent in json.loads(text):
        offset, length, flags = extent["offset"], extent["length"], extent["type"]
        assert offset == (sum(merged[-1][:2]) if merged else 0)
        if merged and merged[-1][2] == flags:
            offset, length = merged[-1][0], merged.pop()[1] + length
        merged.append((offset, length, flags))
    return merged


def test_nbdinfo_tells_all_of_an_export(served: Served, way: Way) -> None:
    served.disk("pool/disk", 10 * MiB + 512)
    served.snapshot("pool/disk@s1")
    (export,) = json.loads(run("nbdinfo", "--json", way.uri("pool/disk")))["exports"]
    said = json.loads(run("nbdinfo", "--json", way.uri("pool/disk")))
    assert said["protocol"] == "newstyle-fixed"
    assert said["TLS"] == (way.kind == "tls")
    assert said["structured"] is True
    expected = {
        "export-name": "pool/disk",
        "description": "this is pool/disk",
        "export-size": 10 * MiB + 512,
        "is_read_only": False,
        "can_cache": True,
        "can_df": True,
        "can_fast_zero": True,
        "can_flush": True,
        "can_fua": True,
        "can_multi_conn": True,
        "can_trim": True,
        "can_zero": True,
        "block_size_minimum": 1,
        "block_size_preferred": BLOCK,
        "block_size_maximum": 32 * MiB,
    }
    assert {key: export[key] for key in expected} == expected
    assert set(export["contexts"]) == {"base:allocation", "cowshed:diff:s1"}


def test_nbdinfo_of_a_snapshot(served: Served, way: Way) -> None:
    served.disk("pool/disk", MiB)
    served.snapshot("pool/disk@s1")
    (export,) = json.loads(run("nbdinfo", "--json", way.uri("pool/disk@s1")))["exports"]
    assert export["is_read_only"] is True
    assert (export["can_trim"], export["can_zero"], export["can_fast_zero"]) == (False, False, False)
    assert attempt("nbdinfo", "--is", "read-only", way.uri("pool/disk@s1")).returncode == 0
    assert attempt("nbdinfo", "--is", "read-only", way.uri("pool/disk")).returncode == 2
    assert attempt("nbdinfo", "--can", "multi-conn", way.uri("pool/disk")).returncode == 0


def test_nbdinfo_lists(served: Served, way: Way) -> None:
    # Not many: libnbd 1.14 keeps its question for contexts to itself for 200 ms (MSG_MORE on its last piece).
    served.disk("pool/disk", 3 * MiB)
    served.disk("pool/größe", MiB)
    served.snapshot("pool/disk@s1")
    exports = json.loads(run("nbdinfo", "--list", "--json", way.uri("")))["exports"]
    found = {export["export-name"]: export["export-size"] for export in exports}
    assert found == {
        name: served.kernel.disk(version).size for name, version in served.names.versions.items()
    }


def test_an_unknown_export_is_refused(served: Served, way: Way) -> None:
    ended = attempt("nbdinfo", way.uri("pool/nothing"))
    assert ended.returncode == 1
    # libnbd keeps the server's words to itself; qemu prints them.
    assert "No such file or directory for export: pool/nothing" in ended.stderr


def test_nbdinfo_maps_what_is_allocated_and_what_changed(
    served: Served, way: Way, rng: random.Random
) -> None:
    old = patchwork(rng, 300)
    served.disk("pool/disk", len(old), bytes(old))
    served.snapshot("pool/disk@s1")
    new = bytearray(old)
    disk = served.kernel.disk(served.names.versions["pool/disk"])
    for _ in range(40):
        start = rng.randrange(300) * BLOCK
        length = min(rng.randrange(1, 4) * BLOCK, len(new) - start)
        data = bytes(length) if rng.random() < 0.3 else rng.randbytes(length)
        new[start : start + length] = data
        disk.write(start, data)
    uri = way.uri("pool/disk")
    assert extents(run("nbdinfo", "--map", "--json", uri)) == allocation(new)
    assert extents(run("nbdinfo", "--map=cowshed:diff:s1", "--json", uri)) == difference(old, new)
    assert extents(run("nbdinfo", "--map", "--json", way.uri("pool/disk@s1"))) == allocation(old)
    assert attempt("nbdinfo", "--map=cowshed:diff:nothing", uri).returncode == 1


def test_nbdcopy_in_and_out(served: Served, way: Way, tmp_path: Path, rng: random.Random) -> None:
    content = bytes(patchwork(rng, 3000)) + rng.randbytes(512)
    served.disk("pool/disk", len(content))
    (tmp_path / "in").write_bytes(content)
    run("nbdcopy", "--flush", tmp_path / "in", way.uri("pool/disk"))
    assert served.content("pool/disk") == content
    run("nbdcopy", way.uri("pool/disk"), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    run("nbdcopy", "--synchronous", way.uri("pool/disk"), tmp_path / "slowly")
    assert (tmp_path / "slowly").read_bytes() == content


def test_nbdcopy_from_export_to_export(served: Served, way: Way, rng: random.Random) -> None:
    content = bytes(patchwork(rng, 3000))
    served.disk("pool/source", len(content), content)
    served.snapshot("pool/source@s1")
    # What is there must go, where the source has holes.
    served.disk("pool/target", len(content), rng.randbytes(len(content)))
    served.write("pool/source", 0, rng.randbytes(MiB))
    command = ["nbdcopy", "--connections=4", "--requests=64", "--request-size=65536"]
    run(*command, way.uri("pool/source@s1"), way.uri("pool/target"))
    assert served.content("pool/target") == content


def test_a_sparse_image_stays_sparse(served: Served, way: Way, tmp_path: Path, rng: random.Random) -> None:
    """And is copied by its data: the 64 GiB around them are not even asked for."""
    data = {rng.randrange(HUGE // MiB) * MiB: rng.randbytes(64 << 10) for _ in range(16)}
    source, target = served.disk("pool/source", HUGE), served.disk("pool/target", HUGE)
    for offset, some in data.items():
        served.write("pool/source", offset, some)
    run("nbdcopy", "--destination-is-zero", way.uri("pool/source"), way.uri("pool/target"))
    written = served.kernel.version(target).mapped_blocks
    assert written == served.kernel.version(source).mapped_blocks == 16 * len(data)
    assert served.bytes_of("pool/source", "read") <= 16 * 256 << 10
    for offset, some in data.items():
        assert served.kernel.disk(target).read(offset, len(some)) == some
    run("nbdcopy", way.uri("pool/target"), tmp_path / "out")
    status = (tmp_path / "out").stat()
    assert status.st_size == HUGE
    assert status.st_blocks * 512 < 4 * MiB
    # And without being told that all is zero there: one long write-zeroes, not 64 GiB of zeros.
    run("nbdcopy", tmp_path / "out", way.uri("pool/source"))
    assert served.kernel.version(source).mapped_blocks == written
