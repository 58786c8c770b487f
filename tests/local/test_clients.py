"""Openings, the exclusive lock among them, and the fence that follows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cowshed.errors import Busy, InvalidArgument, NotFound
from cowshed.local.clients import Client, Openings, cookie, this_process

ONE, TWO = Client("client.1", "here:0/1"), Client("client.2", "there:0/2")


class Fence:
    """In the place of the kernel's."""

    def __init__(self, asked: Callable[[int], bool]) -> None:
        self.owner = 0
        self.asked = asked


def test_the_lock_is_among_clients() -> None:
    openings = Openings()
    first, second = openings.enter("a", ONE), openings.enter("a", TWO)
    openings.acquire("a", first)
    openings.acquire("a", first)
    with pytest.raises(Busy):
        openings.acquire("a", second)
    with pytest.raises(InvalidArgument):
        openings.release("a", second)
    owner = openings.owner("a")
    assert owner is not None
    assert (owner.client, owner.cookie, owner.address) == ("client.1", cookie(first), "here:0/1")
    with pytest.raises(NotFound):
        openings.break_owner("a", cookie(second))
    openings.break_owner("a", cookie(first))
    openings.acquire("a", second)
    openings.leave("a", second)
    assert openings.owner("a") is None
    assert [watcher.client for watcher in openings.watchers("a")] == ["client.1"]


def test_a_number_is_never_used_again() -> None:
    openings = Openings()
    numbers = []
    for _ in range(3):
        numbers.append(openings.enter("a", ONE))
        openings.leave("a", numbers[-1])
    assert numbers == [1, 2, 3]
    assert 0 not in numbers


def test_the_fence_follows_the_lock() -> None:
    openings = Openings()
    first, second = openings.enter("a", ONE), openings.enter("a", TWO)
    openings.acquire("a", first)
    fence = openings.fence("a", Fence)
    assert fence.owner == first
    assert openings.fence("a", Fence) is fence
    assert openings.fence("b", Fence) is not fence
    openings.release("a", first)
    assert fence.owner == 0
    openings.acquire("a", second)
    assert fence.owner == second
    openings.break_owner("a", cookie(second))
    assert fence.owner == 0
    openings.acquire("a", second)
    openings.leave("a", second)
    assert fence.owner == 0
    # It stays the same one until all have given it back, whoever closes the image meanwhile.
    openings.leave("a", first)
    openings.unfence("a")
    third = openings.enter("a", ONE)
    openings.acquire("a", third)
    assert fence.owner == third
    openings.unfence("a")
    assert openings.fence("a", Fence) is not fence


def test_the_fence_asks_for_a_lock_that_is_no_one_s_to_keep() -> None:
    openings = Openings()
    first, second, asker = (openings.enter("a", ONE) for _ in range(3))
    fence = openings.fence("a", Fence)
    assert isinstance(fence, Fence)
    openings.acquire("a", first, automatic=True)
    assert fence.asked(second)
    assert (fence.owner, openings.owners) == (second, {"a": second})
    assert fence.asked(first)
    openings.acquire("a", asker)
    assert not fence.asked(first)
    openings.release("a", asker)
    openings.acquire("a", first, automatic=True)
    assert not fence.asked(asker)
    assert fence.owner == first
    # It was let go between the look at the fence and the question.
    openings.release("a", first)
    assert fence.asked(asker)
    assert fence.owner == 0


def test_clients_have_names_of_their_own() -> None:
    assert this_process().name != this_process().name
