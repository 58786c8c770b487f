"""What each block of a region may hold, by the writes that were begun, acknowledged and made durable.

One client at a time writes to a region, one request after the other. Each write has a number, which is
also what it writes: every block is filled with the number of one write. Zero is a block of zeros.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

BLOCK = 4096


def fill(token: int, blocks: int) -> bytes:
    """Blocks of a number."""
    return token.to_bytes(8, "little") * (BLOCK // 8 * blocks)


def tokens(content: bytes) -> list[int]:
    """The number of each block, which must be filled with it."""
    found = []
    for at in range(0, len(content), BLOCK):
        block = content[at : at + BLOCK]
        assert block == block[:8] * (BLOCK // 8), f"block {at // BLOCK} is a mixture"
        found.append(int.from_bytes(block[:8], "little"))
    return found


@dataclass(frozen=True)
class Write:
    number: int
    first: int
    count: int
    token: int
    """The number, or zero for what writes zeros."""

    @property
    def blocks(self) -> range:
        return range(self.first, self.first + self.count)


@dataclass
class Region:
    blocks: int
    number: int = 0
    """Of the last write that was begun."""
    writes: list[Write] = field(default_factory=list)
    """Begun since the base, in order."""
    base: list[int] = field(default_factory=list)
    """What was there when all was last known."""
    may_hold: list[list[tuple[int, int]]] = field(default_factory=list)
    """Of each block, the number and token of each write that may have been its last, in order."""

    def __post_init__(self) -> None:
        self.found([0] * self.blocks)

    def found(self, now: list[int]) -> None:
        """All is known again."""
        self.base = now
        self.writes = []
        self.may_hold = [[(self.number, token)] for token in now]

    def begin(self, first: int, count: int, zeros: bool) -> Write:
        self.number += 1
        write = Write(self.number, first, count, 0 if zeros else self.number)
        self.writes.append(write)
        for block in write.blocks:
            self.may_hold[block].append((write.number, write.token))
        return write

    def lasts(self, upto: int, blocks: Iterable[int] | None = None) -> None:
        """All writes up to one, or their parts in some blocks, are there for good."""
        for block in range(self.blocks) if blocks is None else blocks:
            while len(self.may_hold[block]) > 1 and self.may_hold[block][1][0] <= upto:
                del self.may_hold[block][0]

    def compare(self, found: list[int], first: int = 0) -> None:
        """Fails unless each block, from a first one on, holds what it may."""
        for block, token in enumerate(found, first):
            allowed = [token for _, token in self.may_hold[block]]
            assert token in allowed, f"block {block} holds {token}, not one of {allowed}"

    def compare_moment(self, found: list[int], earliest: int, latest: int) -> int:
        """Fails unless this is the state after exactly some writes, and perhaps blocks of the next one.

        The last of those writes is between two numbers. Returns it.
        """
        state = list(self.base)
        for number, write in enumerate([None, *self.writes]):
            if write is not None:
                for block in write.blocks:
                    state[block] = write.token
            last = write.number if write else self.writes[0].number - 1 if self.writes else self.number
            following = self.writes[number] if number < len(self.writes) else None
            part = set(following.blocks) if following else set()
            if earliest <= last <= latest and all(
                found[block] == state[block]
                or (following is not None and block in part and found[block] == following.token)
                for block in range(self.blocks)
            ):
                return last
        raise AssertionError(f"a state that never was, between the writes {earliest} and {latest}: {found}")
