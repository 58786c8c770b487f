"""A process that works on a store until it is killed, and says what it begins and what it was told is done.

    python child.py STORE SEED < state

Each line on its standard output is one JSON object, written by one write(2): `{"t": thread, "do": …}` before
a call, `{"t": thread, "ok": true}` after it returned. Each thread works on versions and keys of its own.
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
from typing import Any

from cowshed._kernel import Kernel

SECTOR = 512
SIZES = [3 * 4096, 40 * 4096, 1 << 20, (1 << 20) + 512, 1 << 40]
MOST_VERSIONS = 6


def say(**line: Any) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def fill(token: int, sectors: int) -> bytes:
    return token.to_bytes(8, "little") * (SECTOR // 8 * sectors)


class Worker:
    def __init__(self, kernel: Kernel, thread: int, state: dict[str, Any], seed: str) -> None:
        self.kernel = kernel
        self.thread = thread
        self.rng = random.Random(f"{seed} {thread}")
        self.heads: dict[int, int] = {int(id_): size for id_, size in state["heads"].items()}
        """Sizes in bytes."""
        self.frozen: dict[int, int] = {int(id_): size for id_, size in state["frozen"].items()}
        self.next_token: int = state["token"]

    def run(self) -> None:
        steps = [
            (50, self.write),
            (10, self.discard),
            (6, self.flush),
            (2, self.reclaim),
            (3, self.create),
            (6, self.freeze),
            (4, self.derive),
            (5, self.drop),
            (2, self.rollback),
            (2, self.resize),
            (4, self.keys),
        ]
        weights, calls = zip(*steps, strict=True)
        while True:
            self.rng.choices(calls, weights)[0]()

    def say(self, **line: Any) -> None:
        say(t=self.thread, **line)

    def head(self) -> int:
        while not self.heads:
            self.create()
        return self.rng.choice(list(self.heads))

    def range(self, head: int) -> tuple[int, int]:
        """In sectors: near the beginning, where all is written again and again, or far out."""
        sectors = self.heads[head] // SECTOR
        start = self.rng.randrange(min(sectors, self.rng.choice([8, 64, 400])))
        if self.rng.random() < 0.1:
            start = sectors - 1 - start
        return start, min(self.rng.choice([1, 3, 8, 16, 40]), sectors - start)

    def write(self) -> None:
        head = self.head()
        start, sectors = self.range(head)
        token = self.next_token
        self.next_token += 1
        self.say(do="write", v=head, s=start, n=sectors, k=token)
        self.kernel.disk(head).write(start * SECTOR, fill(token, sectors))
        self.say(ok=True)

    def discard(self) -> None:
        head = self.head()
        start, sectors = self.range(head)
        self.say(do="write", v=head, s=start, n=sectors, k=0)
        self.kernel.disk(head).discard(start * SECTOR, sectors * SECTOR)
        self.say(ok=True)

    def flush(self) -> None:
        self.say(do="flush")
        self.kernel.flush()
        self.say(ok=True)

    def reclaim(self) -> None:
        self.say(do="reclaim")
        self.kernel.reclaim(self.rng.choice([1, 100]))
        self.say(ok=True)

    def transact(self, ops: list[list[Any]]) -> list[int]:
        """Each operation with a key that says the same; all of it in one transaction. Returns the new ids."""
        transaction = self.kernel.transaction()
        made = []
        keys: dict[str, str | None] = {}
        for op in ops:
            name, *arguments = op
            id_ = getattr(transaction, name)(*arguments)
            if name in ("create", "freeze", "derive"):
                made.append(id_)
                op.append(id_)
                keys[self.key(id_)] = name
            elif name == "drop":
                keys[self.key(arguments[0])] = None
        keys[f"{self.thread}/mark"] = str(self.rng.getrandbits(64))
        if self.rng.random() < 0.2:
            name = f"{self.thread}/key/{self.rng.randrange(10)}"
            keys[name] = self.rng.choice([None, "x" * self.rng.choice([10, 5000])])
        for name, value in keys.items():
            if value is None:
                transaction.delete(name.encode())
            else:
                transaction.put(name.encode(), value.encode())
        told = {
            name: value if value is None or len(value) < 100 else len(value) for name, value in keys.items()
        }
        self.say(do="transact", ops=ops, keys=told)
        transaction.commit()
        self.say(ok=True)
        return made

    def key(self, id_: int) -> str:
        return f"{self.thread}/version/{id_}"

    def create(self) -> None:
        if self.room():
            size = self.rng.choice(SIZES)
            (id_,) = self.transact([["create", size]])
            self.heads[id_] = size

    def room(self) -> bool:
        return len(self.heads) + len(self.frozen) < MOST_VERSIONS

    def freeze(self) -> None:
        if self.room():
            head = self.head()
            (id_,) = self.transact([["freeze", head]])
            self.frozen[id_] = self.heads[head]

    def derive(self) -> None:
        if self.frozen and self.room():
            frozen = self.rng.choice(list(self.frozen))
            (id_,) = self.transact([["derive", frozen]])
            self.heads[id_] = self.frozen[frozen]

    def drop(self) -> None:
        """One or two at once; a dropped head gives room for others."""
        some = self.rng.sample(list(self.frozen), min(len(self.frozen), self.rng.choice([1, 2])))
        if len(self.heads) > 1 and self.rng.random() < 0.5:
            some.append(self.rng.choice(list(self.heads)))
        if some:
            self.transact([["drop", id_] for id_ in some])
            for id_ in some:
                self.frozen.pop(id_, None)
                self.heads.pop(id_, None)

    def rollback(self) -> None:
        if self.frozen:
            head, frozen = self.head(), self.rng.choice(list(self.frozen))
            self.transact([["rollback", head, frozen]])
            self.heads[head] = self.frozen[frozen]

    def resize(self) -> None:
        head, size = self.head(), self.rng.choice(SIZES)
        self.transact([["resize", head, size]])
        self.heads[head] = size

    def keys(self) -> None:
        self.transact([])


def main() -> None:
    path, seed = sys.argv[1:]
    states = json.load(sys.stdin)
    kernel = Kernel.open(path, wait_seconds=10, cache_bytes=random.Random(seed).choice([0, 1 << 26]))
    say(opened=True)
    workers = [Worker(kernel, number, state, seed) for number, state in enumerate(states)]
    for worker in workers:
        threading.Thread(target=worker.run).start()


if __name__ == "__main__":
    main()
