"""What a store must hold after its process was killed, by what the process said.

Disks are sequences of sectors, each of which holds one token or, where nothing was written, zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SECTOR = 512
Sectors = dict[int, int]
"""Tokens by sector; what is not there is zero."""


def put(sectors: Sectors, start: int, count: int, token: int) -> None:
    for sector in range(start, start + count):
        if token:
            sectors[sector] = token
        else:
            sectors.pop(sector, None)


@dataclass
class Head:
    size: int
    flushed: Sectors = field(default_factory=dict)
    since: list[tuple[int, int, int]] = field(default_factory=list)
    """Writes begun after what was flushed: first sector, sectors, token."""
    folded: int = 0
    """How many writes are in `flushed`."""
    returned: int = 0
    """How many of all writes returned."""

    def flush(self, upto: int) -> None:
        """The first `upto` writes are durable."""
        for write in self.since[: max(0, upto - self.folded)]:
            put(self.flushed, *write)
        del self.since[: max(0, upto - self.folded)]
        self.folded = max(self.folded, upto)

    def now(self) -> Sectors:
        now = dict(self.flushed)
        for write in self.since:
            put(now, *write)
        return now

    def allowed(self) -> dict[int, set[int]]:
        """What may be found where anything may."""
        allowed = {sector: {token} for sector, token in self.flushed.items()}
        for start, count, token in self.since:
            for sector in range(start, start + count):
                allowed.setdefault(sector, {0}).add(token)
        return allowed


@dataclass
class Frozen:
    size: int
    sectors: Sectors


@dataclass
class Thread:
    """The versions and keys of one of the child's threads, and the call that it is in."""

    heads: dict[int, Head] = field(default_factory=dict)
    frozen: dict[int, Frozen] = field(default_factory=dict)
    keys: dict[str, Any] = field(default_factory=dict)
    begun: dict[str, Any] | None = None
    token: int = 1
    marks: list[tuple[Head, int]] = field(default_factory=list)
    """Of every head, how many writes had returned when the call began: a flush covers these."""

    def flush(self) -> None:
        """The call that was begun made durable what had returned before it, of all threads."""
        for head, upto in self.marks:
            head.flush(upto)

    def transact(self, ops: list[list[Any]], keys: dict[str, Any]) -> None:
        for head in self.heads.values():
            # Its own thread waits, so all its writes have returned.
            head.flush(head.returned)
        for name, *arguments in ops:
            getattr(self, name)(*arguments)
        for key, value in keys.items():
            if value is None:
                self.keys.pop(key, None)
            else:
                self.keys[key] = value

    def create(self, size: int, new: int) -> None:
        self.heads[new] = Head(size)

    def freeze(self, head: int, new: int) -> None:
        self.frozen[new] = Frozen(self.heads[head].size, self.heads[head].now())

    def derive(self, frozen: int, new: int) -> None:
        source = self.frozen[frozen]
        self.heads[new] = Head(source.size, dict(source.sectors))

    def drop(self, id_: int) -> None:
        self.heads.pop(id_, None)
        self.frozen.pop(id_, None)

    def rollback(self, head: int, frozen: int) -> None:
        self.derive(frozen, head)

    def resize(self, head: int, size: int) -> None:
        now = {sector: token for sector, token in self.heads[head].now().items() if sector * SECTOR < size}
        self.heads[head] = Head(size, now)


class World:
    """All threads."""

    def __init__(self, threads: int) -> None:
        self.threads = [Thread() for _ in range(threads)]

    def line(self, line: dict[str, Any]) -> None:
        thread = self.threads[line["t"]]
        if "ok" in line:
            assert thread.begun is not None
            self.returned(thread, thread.begun)
            thread.begun = None
            return
        thread.begun = line
        thread.marks = [(head, head.returned) for other in self.threads for head in other.heads.values()]
        if line["do"] == "write":
            head = thread.heads[line["v"]]
            head.since.append((line["s"], line["n"], line["k"]))
            thread.token = max(thread.token, line["k"] + 1)

    def returned(self, thread: Thread, call: dict[str, Any]) -> None:
        if call["do"] == "write":
            thread.heads[call["v"]].returned += 1
        elif call["do"] != "reclaim":
            thread.flush()
        if call["do"] == "transact":
            thread.transact(call["ops"], call["keys"])

    def find(self, number: int, keys: dict[str, Any]) -> None:
        """These keys were found of a thread: so the transaction that it was in happened, or it did not."""
        thread = self.threads[number]
        if keys != thread.keys and thread.begun is not None and thread.begun["do"] == "transact":
            thread.flush()
            thread.transact(thread.begun["ops"], thread.begun["keys"])
        assert keys == thread.keys, f"thread {number}, in {thread.begun}"
