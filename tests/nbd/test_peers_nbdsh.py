"""libnbd through its Python bindings, command by command, with simple replies and with structured ones.

(libnbd 1.14, as Debian 12 has it, knows no extended headers; test_peers_qemu.py takes that path.)
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from nbd.commands import SYSTEM_PYTHON, need_libnbd, run
from nbd.serving import BLOCK, Served, Way, allocation, difference

CLIENT = Path(__file__).with_name("libnbd_client.py")


@pytest.fixture(params=[False, True], ids=["simple", "structured"])
def structured(request: pytest.FixtureRequest) -> bool:
    assert isinstance(request.param, bool)
    return request.param


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def libnbd(what: str, **told: Any) -> Any:
    """Have the client do something; what it says of it."""
    need_libnbd()
    return json.loads(run(SYSTEM_PYTHON, CLIENT, what, stdin=json.dumps(told).encode()))


def test_all_requests_beside_an_array_of_bytes(
    served: Served, way: Way, structured: bool, rng: random.Random
) -> None:
    served.disk("pool/disk", (2 << 20) + 1000)
    told = {"uri": way.uri("pool/disk"), "structured": structured, "seed": rng.random(), "steps": 250}
    said = libnbd("requests", **told)
    assert set(said["done"]) == {"write", "trim", "zero", "cache", "flush", "read", "pieces"}
    assert said["digest"] == digest(served.content("pool/disk"))


def test_what_cannot_be_is_refused(served: Served, way: Way, structured: bool) -> None:
    served.disk("pool/disk", (2 << 20) + 1000, b"head")
    libnbd("refusals", uri=way.uri("pool/disk"), structured=structured)
    content = served.content("pool/disk")
    assert content == b"head" + bytes(len(content) - 4)


def test_snapshots_are_read_only(served: Served, way: Way, structured: bool, rng: random.Random) -> None:
    content = rng.randbytes(1 << 20)
    served.disk("pool/disk", len(content), content)
    served.snapshot("pool/disk@s1")
    served.write("pool/disk", 0, rng.randbytes(1 << 19))
    said = libnbd("read_only", uri=way.uri("pool/disk@s1"), structured=structured)
    assert said["digest"] == digest(content) == digest(served.content("pool/disk@s1"))


def test_a_disk_may_be_read_only_too(served: Served, way: Way, structured: bool) -> None:
    """Nothing but the export's own mark keeps it from being written."""
    served.disk("pool/disk", 1 << 20, b"\x11" * (1 << 20))
    served.names.read_only.add("pool/disk")
    libnbd("read_only", uri=way.uri("pool/disk"), structured=structured)
    assert served.content("pool/disk") == b"\x11" * (1 << 20)


def test_more_extents_than_one_answer_holds(served: Served, way: Way) -> None:
    """Every other block, twenty thousand of them: none is missing where an answer ends."""
    served.disk("pool/disk", 40_000 * BLOCK)
    served.snapshot("pool/disk@s1")
    disk = served.kernel.disk(served.names.versions["pool/disk"])
    for block in range(0, 40_000, 2):
        disk.write(block * BLOCK, b"\x11" * BLOCK)
    names = ["base:allocation", "cowshed:diff:s1"]
    found = libnbd("contexts", uri=way.uri("pool/disk"), structured=True, contexts=names)["extents"]
    for name, even, odd in (("base:allocation", 0, 3), ("cowshed:diff:s1", 1, 0)):
        assert joined(found[name]) == [(b * BLOCK, BLOCK, odd if b % 2 else even) for b in range(40_000)], (
            name
        )


def test_contexts(served: Served, way: Way, rng: random.Random) -> None:
    states = [bytearray(1000 * BLOCK)]
    served.disk("pool/disk", 1000 * BLOCK)
    for name in ("s1", "s2", "now"):
        state = bytearray(states[-1])
        for _ in range(100):
            start = rng.randrange(995) * BLOCK
            data = rng.choice([bytes(BLOCK), rng.randbytes(BLOCK), rng.randbytes(4 * BLOCK)])
            served.write("pool/disk", start, data)
            state[start : start + len(data)] = data
        states.append(state)
        if name != "now":
            served.snapshot(f"pool/disk@{name}")
    _, first, second, now = states
    names = ["base:allocation", "cowshed:diff:s1", "cowshed:diff:s2"]
    found = libnbd("contexts", uri=way.uri("pool/disk"), structured=True, contexts=names)["extents"]
    expected = dict(
        zip(names, (allocation(now), difference(first, now), difference(second, now)), strict=True)
    )
    for name in names:
        assert joined(found[name]) == expected[name], name


def joined(pieces: list[list[int]]) -> list[tuple[int, int, int]]:
    """Neighbours that are alike together, with their offsets."""
    found: list[tuple[int, int, int]] = []
    at = 0
    for length, flags in pieces:
        if found and found[-1][2] == flags:
            found[-1] = (found[-1][0], found[-1][1] + length, flags)
        else:
            found.append((at, length, flags))
        at += length
    return found


def test_many_in_flight_on_four_connections(
    served: Served, way: Way, structured: bool, rng: random.Random
) -> None:
    served.disk("pool/disk", 4 << 20)
    told = {"uri": way.uri("pool/disk"), "structured": structured, "seed": rng.random(), "rounds": 6}
    said = libnbd("in_flight", **told)
    assert said["digest"] == digest(served.content("pool/disk"))
    assert said["most"] > 64


@pytest.mark.parametrize("name", ["nameless", "strange", "plain"])
def test_who_has_no_certificate_stays_outside(served: Served, name: str) -> None:
    served.disk("pool/disk", 1 << 20)
    with pytest.raises(AssertionError, match=r"nbd\.Error"):
        libnbd("read_only", uri=served.ways[name].uri("pool/disk"), structured=True)
    assert served.names.opened == 0
