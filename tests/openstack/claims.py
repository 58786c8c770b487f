"""Things that several threads use: by any number at once, or by one alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar


@dataclass(eq=False)
class Thing:
    """What is used: `users` is -1 while one has it alone."""

    users: int = field(default=0, init=False)


T = TypeVar("T", bound=Thing)


class Things(Generic[T]):
    """Those of one kind that there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._there: list[T] = []

    def __len__(self) -> int:
        return len(self._there)

    def all(self) -> list[T]:
        with self._lock:
            return list(self._there)

    def add(self, thing: T) -> None:
        with self._lock:
            self._there.append(thing)

    def remove(self, thing: T) -> None:
        with self._lock:
            self._there.remove(thing)

    @contextmanager
    def taken(
        self, dice: random.Random, alone: bool = False, fit: Callable[[T], bool] = lambda thing: True
    ) -> Iterator[T | None]:
        """One that can be had now, of those that fit; None where there is none. Let go at the end."""
        with self._lock:
            free = [
                each for each in self._there if (each.users == 0 if alone else each.users >= 0) and fit(each)
            ]
            chosen = dice.choice(free) if free else None
            if chosen:
                chosen.users = -1 if alone else chosen.users + 1
        try:
            yield chosen
        finally:
            if chosen:
                with self._lock:
                    chosen.users = 0 if alone else chosen.users - 1
