"""What libnbd does against a server, run by the system's Python: libnbd_client.py WHAT < JSON

It knows nothing of cowshed, and keeps an array of bytes of its own. It prints a JSON object, or fails.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import random
import sys
from collections.abc import Callable
from typing import Any

# Not by name: for who reads the tests' types, `nbd` is the tests' own package.
nbd: Any = importlib.import_module("nbd")

BLOCK = 4096
DEPTH = 64


def connect(told: dict[str, Any], contexts: tuple[str, ...] = (), strict: bool = True) -> Any:
    """A connection as the test told it to be."""
    handle = nbd.NBD()
    handle.set_uri_allow_local_file(True)
    handle.set_request_structured_replies(told["structured"])
    for context in contexts:
        handle.add_meta_context(context)
    if not strict:
        # Bad requests are to reach the server.
        handle.set_strict_mode(0)
    handle.connect_uri(told["uri"])
    assert handle.get_structured_replies_negotiated() == told["structured"]
    assert handle.get_tls_negotiated() == told["uri"].startswith("nbds:")
    return handle


def digest(content: bytes | bytearray) -> str:
    return hashlib.sha256(content).hexdigest()


def requests(told: dict[str, Any]) -> dict[str, Any]:
    """Every command with every flag that it has, at random places, beside an array of bytes."""
    h = connect(told)
    rng = random.Random(told["seed"])
    size = h.get_size()
    oracle = bytearray(size)
    done: dict[str, int] = {}
    for _ in range(told["steps"]):
        offset = rng.randrange(size)
        length = min(rng.choice([1, 511, 4096, 20_000, 300_000]), size - offset)
        if rng.random() < 0.5:
            offset, length = offset // BLOCK * BLOCK, max(length // BLOCK, 1) * BLOCK
            length = min(length, size - offset)
        end = offset + length
        fua = nbd.CMD_FLAG_FUA if rng.random() < 0.3 else 0
        name = rng.choice(["write", "write", "trim", "zero", "cache", "flush", "read", "read", "pieces"])
        done[name] = done.get(name, 0) + 1
        if name == "write":
            data = rng.randbytes(length)
            h.pwrite(data, offset, fua)
            oracle[offset:end] = data
        elif name == "trim":
            h.trim(length, offset, fua)
            # Trimmed bytes may read as anything by the protocol; by ours they are zeros.
            oracle[offset:end] = bytes(length)
        elif name == "zero":
            flags = fua
            if rng.random() < 0.5:
                flags |= nbd.CMD_FLAG_NO_HOLE
            if rng.random() < 0.5:
                flags |= nbd.CMD_FLAG_FAST_ZERO
            h.zero(length, offset, flags)
            oracle[offset:end] = bytes(length)
        elif name == "cache":
            h.cache(length, offset)
        elif name == "flush":
            h.flush()
        elif name == "read":
            assert h.pread(length, offset) == oracle[offset:end], (offset, length)
        else:
            in_pieces(told, h, rng, offset, bytes(oracle[offset:end]))
    assert h.pread(size, 0) == oracle
    h.shutdown()
    return {"digest": digest(oracle), "done": done}


def in_pieces(told: dict[str, Any], h: Any, rng: random.Random, offset: int, expected: bytes) -> None:
    """Read by structured replies, whose chunks must cover the range once."""
    found = bytearray(len(expected))
    covered = []

    def chunk(data: bytes, at: int, status: int, error: Any) -> None:
        assert status in (nbd.READ_DATA, nbd.READ_HOLE)
        covered.append((at, len(data)))
        found[at - offset : at - offset + len(data)] = data

    whole = told["structured"] and rng.random() < 0.5
    h.pread_structured(len(expected), offset, chunk, nbd.CMD_FLAG_DF if whole else 0)
    assert found == expected
    assert sum(length for _, length in covered) == len(expected)
    if whole:
        assert len(covered) == 1


def refusal_of(request: Callable[[], Any]) -> int | None:
    """The error number with which a request ends, if it does."""
    try:
        request()
    except nbd.Error as error:
        code: int = error.errnum
        return code
    return None


def refusals(told: dict[str, Any]) -> dict[str, Any]:
    """Requests that cannot be are answered with the protocol's errors, and the connection goes on."""
    h = connect(told, strict=False)
    size = h.get_size()
    expected: list[tuple[Callable[[], Any], int]] = [
        (lambda: h.pread(1, size), errno.EINVAL),
        (lambda: h.pread(10, size - 5), errno.EINVAL),
        (lambda: h.pwrite(b"x", size), errno.ENOSPC),
        (lambda: h.pwrite(b"x" * 100, size - 50), errno.ENOSPC),
        (lambda: h.zero(100, size - 50), errno.ENOSPC),
        (lambda: h.trim(100, size - 50), errno.EINVAL),
        (lambda: h.cache(100, size - 50), errno.EINVAL),
        (lambda: h.pread(4096, 0, 1 << 7), errno.EINVAL),
        (lambda: h.pwrite(b"x" * 100, 0, 1 << 7), errno.EINVAL),
        (lambda: h.trim(4096, 0, nbd.CMD_FLAG_NO_HOLE), errno.EINVAL),
    ]
    for number, (request, code) in enumerate(expected):
        assert refusal_of(request) == code, number
        assert h.pread(4, 0) == b"head"
    h.shutdown()
    return {"refused": len(expected)}


def read_only(told: dict[str, Any]) -> dict[str, Any]:
    """What changes is refused, whether the client asks nicely or not."""
    h = connect(told, strict=False)
    assert h.is_read_only()
    assert not h.can_trim()
    assert not h.can_zero()
    changes: list[Callable[[], Any]]
    changes = [lambda: h.pwrite(b"x", 0), lambda: h.zero(10, 0), lambda: h.trim(10, 0)]
    for request in changes:
        assert refusal_of(request) == errno.EPERM
    content = h.pread(h.get_size(), 0)
    h.flush()
    h.shutdown()
    return {"digest": digest(content)}


def contexts(told: dict[str, Any]) -> dict[str, Any]:
    """Block status of all contexts at once, from the beginning to the end."""
    h = connect(told, tuple(told["contexts"]))
    assert h.get_nr_meta_contexts() == len(told["contexts"])
    size = h.get_size()
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in told["contexts"]}
    at = dict.fromkeys(found, 0)
    while min(at.values()) < size:
        start = min(at.values())

        def extents(name: str, offset: int, entries: list[int], error: Any, start: int = start) -> None:
            assert offset == start
            end = start
            for length, flags in zip(entries[::2], entries[1::2], strict=True):
                if end == at[name]:
                    found[name].append((length, flags))
                    at[name] += length
                end += length

        h.block_status(size - start, start, extents)
        assert min(at.values()) > start
    # One extent for each context, and no longer than what was asked for.
    single: dict[str, list[int]] = {}

    def one(name: str, offset: int, entries: list[int], error: Any) -> None:
        assert len(entries) == 2
        assert entries[0] <= 3 * BLOCK
        single[name] = entries

    h.block_status(3 * BLOCK, BLOCK, one, nbd.CMD_FLAG_REQ_ONE)
    assert set(single) == set(found)
    h.shutdown()
    return {"extents": found}


def in_flight(told: dict[str, Any]) -> dict[str, Any]:
    """Hundreds of requests at once on four connections, no two of them about one block."""
    handles = [connect(told) for _ in range(4)]
    assert all(h.can_multi_conn() for h in handles)
    rng = random.Random(told["seed"])
    blocks = handles[0].get_size() // BLOCK
    oracle = [bytes(BLOCK)] * blocks
    most = 0
    for _ in range(told["rounds"]):
        waiting: list[tuple[Any, int, Any, bytes | None]] = []
        for number, block in enumerate(rng.sample(range(blocks), 4 * DEPTH)):
            h = handles[number % 4]
            kind = rng.random()
            if kind < 0.45:
                data = rng.randbytes(BLOCK)
                buffer = nbd.Buffer.from_bytearray(bytearray(data))
                fua = nbd.CMD_FLAG_FUA if rng.random() < 0.1 else 0
                waiting.append((h, h.aio_pwrite(buffer, block * BLOCK, flags=fua), buffer, None))
                oracle[block] = data
            elif kind < 0.55:
                waiting.append((h, h.aio_zero(BLOCK, block * BLOCK), None, None))
                oracle[block] = bytes(BLOCK)
            elif kind < 0.6:
                waiting.append((h, h.aio_flush(), None, None))
            else:
                buffer = nbd.Buffer(BLOCK)
                waiting.append((h, h.aio_pread(buffer, block * BLOCK), buffer, oracle[block]))
        most = max(most, sum(h.aio_in_flight() for h in handles))
        for h, cookie, buffer, expected in waiting:
            while not h.aio_command_completed(cookie):
                h.poll(-1)
            if expected is not None:
                assert bytes(buffer.to_bytearray()) == expected
    # A flush on one connection is about the writes of all, and all see what any has written.
    handles[0].flush()
    content = b"".join(oracle)
    assert all(h.pread(len(content), 0) == content for h in handles)
    for h in handles:
        h.shutdown()
    return {"digest": digest(content), "most": most}


def main() -> None:
    calls = [requests, refusals, read_only, contexts, in_flight]
    call = {call.__name__: call for call in calls}[sys.argv[1]]
    print(json.dumps(call(json.load(sys.stdin))))


if __name__ == "__main__":
    main()
