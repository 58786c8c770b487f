"""Striping: how RBD would spread an image over its objects. Kept and reported; data here is not striped.

A striping is a pair: bytes of a stripe's unit, and how many objects a stripe goes over. None is RBD's
default: one object after the other.
"""

from __future__ import annotations

from collections.abc import Sequence

from cowshed.errors import InvalidArgument

Striping = tuple[int, int]


def check_striping(order: int, striping: Sequence[int] | None) -> Striping | None:
    """The striping of an image of that object order; the default is None, however it was given.

    Raises InvalidArgument where a unit does not fit into objects a whole number of times.
    """
    if striping is None:
        return None
    if len(striping) != 2:
        raise InvalidArgument("a striping is two numbers: the unit in bytes, and the count")
    unit, count = striping
    if unit < 1 or count < 1 or (1 << order) % unit:
        raise InvalidArgument(
            f"a stripe unit of {unit} bytes and a count of {count} are not possible with order {order}",
            hint=f"objects have {1 << order} bytes: a whole number of units",
        )
    return None if (unit, count) == (1 << order, 1) else (unit, count)


def inherited(order: int, striping: Striping | None) -> Striping | None:
    """What a clone or copy of that order has of its source's striping: none where that does not fit."""
    return striping if striping and (1 << order) % striping[0] == 0 else None


def objects(size: int, order: int, striping: Striping | None) -> int:
    """How many objects RBD would spread `size` bytes over."""
    if striping is None:
        return -(-size >> order)
    unit, count = striping
    sets, rest = divmod(size, count << order)
    return sets * count + min(count, -(-rest // unit))
