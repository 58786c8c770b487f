"""Many together, or one alone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from cowshed.local import LocalStore, keys
from cowshed.local.gate import Gate


def run(*jobs: Callable[[], None]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_are_inside_together() -> None:
    gate, meeting = Gate(), threading.Barrier(4, timeout=60)

    def pass_together() -> None:
        with gate.together():
            meeting.wait()  # breaks unless all four are inside at once

    run(*[pass_together] * 4)
    assert not meeting.broken


@pytest.mark.parametrize(
    ("first", "second"), [("alone", "together"), ("together", "alone"), ("alone", "alone")]
)
def test_nobody_is_inside_with_the_one_alone(first: str, second: str) -> None:
    gate = Gate()
    order: list[str] = []

    def come() -> None:
        with getattr(gate, second)():
            order.append("second is in")

    other = threading.Thread(target=come)
    with getattr(gate, first)():
        other.start()
        while not order and not gate._state._waiters:  # type: ignore[attr-defined]
            pass  # until the other waits, or got in
        order.append("first leaves")
    other.join()
    assert order == ["first leaves", "second is in"]


def test_who_fails_inside_leaves_it_open() -> None:
    gate = Gate()
    for enter in (gate.alone, gate.together):
        with pytest.raises(KeyError), enter():
            raise KeyError
    with gate.alone():
        pass


def test_a_pool_is_seen_to_be_empty_by_one_alone(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """No record covers that scan, so an image made meanwhile would lose its pool."""
    store.create_pool("p")
    catalog = store._catalog
    alone = []

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(store._kernel, name)

        def scan(self, prefix: bytes, **how: Any) -> Any:
            if prefix == keys.names_of_pool("p"):
                alone.append(catalog.gate._alone)
            return store._kernel.scan(prefix, **how)

    monkeypatch.setattr(catalog, "kernel", Watched())
    store.remove_pool("p")
    assert alone == [1]
