"""What a new image is to be like: what the line says, else the pool, else a client's configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from cowshed.cli.session import Session
from cowshed.cli.sizes import size_in_bytes
from cowshed.errors import InvalidArgument
from cowshed.store import Store
from cowshed.store.features import asked_for, parse_features


def takes_striping(function: Any) -> Any:
    """Add `--stripe-unit` and `--stripe-count`."""
    function = click.option(
        "--stripe-count",
        type=int,
        metavar="NUMBER",
        help="How many objects of RBD's a stripe goes over; kept.",
    )(function)
    return click.option(
        "--stripe-unit", type=size_in_bytes, metavar="SIZE", help="RBD's stripe unit; kept and reported."
    )(function)


def striping_from(unit: int | None, count: int | None) -> tuple[int, int] | None:
    """Of both options. Raises InvalidArgument where only one is given."""
    if unit is None and count is None:
        return None
    if unit is None or count is None:
        raise InvalidArgument("--stripe-unit and --stripe-count go together", hint="give both")
    return unit, count


@dataclass(frozen=True, slots=True)
class Defaults:
    """A client's configuration, as far as it holds for a pool: what is set for the pool itself goes before
    it, and the store finds that by itself.
    """

    given: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, session: Session, store: Store, pool: str) -> Defaults:
        """Of a run of the program. Raises NotFound for the pool."""
        if not session.defaults:
            return cls()
        set_there = {option.name for option in store.config(pool=pool) if option.source == "pool"}
        return cls({key: value for key, value in session.defaults.items() if key not in set_there})

    def order(self, asked: int | None) -> int | None:
        """The object order."""
        return asked if asked is not None else self._number("rbd_default_order")

    def features(self, asked: Sequence[str] | None) -> Sequence[str] | None:
        """Their names."""
        if asked is None and (configured := self.given.get("rbd_default_features")) is not None:
            return asked_for(parse_features(configured))
        return asked

    def striping(self, asked: tuple[int, int] | None) -> tuple[int, int] | None:
        """Stripe unit and count."""
        unit, count = (self._number(f"rbd_default_stripe_{what}") for what in ("unit", "count"))
        return (unit, count) if asked is None and unit and count else asked

    def clone_format(self, asked: int | None) -> int | None:
        """RBD's format of a clone; None: cowshed's own."""
        return asked if asked is not None else self._number("rbd_default_clone_format")

    def _number(self, key: str) -> int | None:
        value = self.given.get(key)
        return None if value is None else int(value)
