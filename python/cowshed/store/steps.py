"""The steps of a change of an object (`Store.change_object`): made by these functions, done in their order.

    store.change_object("rbd", "note", [steps.assert_exists(), steps.write(0, b"text")])

As with RADOS, a step that writes makes the object if it is not there; `truncate` and `zero` of one that is
not there do nothing, `compare` finds zeros there, and the steps that take away need it (NotFound).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

StepKind = Literal[
    "create",
    "create-exclusively",
    "write",
    "write-full",
    "append",
    "truncate",
    "zero",
    "remove",
    "set-attribute",
    "remove-attribute",
    "set-omap",
    "remove-omap",
    "remove-omap-range",
    "clear-omap",
    "set-omap-header",
    "assert-exists",
    "assert-missing",
    "assert-version",
    "compare",
    "compare-attribute",
    "compare-omap",
]


@dataclass(frozen=True, slots=True)
class ObjectStep:
    """One step. Which of the fields count is a matter of what it does; see the functions below."""

    do: StepKind
    offset: int = 0
    length: int = 0
    """A length, the new size, or a version."""
    name: str = ""
    """Of an attribute or an omap key; of a range of keys: the first."""
    end: str = ""
    """Of a range of keys: the first one behind it."""
    data: bytes | None = None
    values: dict[str, bytes] = field(default_factory=dict)
    names: tuple[str, ...] = ()


def create(*, exclusively: bool = False) -> ObjectStep:
    """Make it if it is not there. Exclusively: raises AlreadyExists if it is."""
    return ObjectStep("create-exclusively" if exclusively else "create")


def write(offset: int, data: bytes) -> ObjectStep:
    """Put bytes there; a gap between the end and `offset` reads as zeros."""
    return ObjectStep("write", offset=offset, data=data)


def write_full(data: bytes) -> ObjectStep:
    """Have this content and no other; attributes and omap stay."""
    return ObjectStep("write-full", data=data)


def append(data: bytes) -> ObjectStep:
    """Write at the end."""
    return ObjectStep("append", data=data)


def truncate(size: int) -> ObjectStep:
    """Cut it, or have it grow by zeros."""
    return ObjectStep("truncate", length=size)


def zero(offset: int, length: int) -> ObjectStep:
    """Make the range zeros. One that reaches the end cuts the object at `offset` (as RADOS)."""
    return ObjectStep("zero", offset=offset, length=length)


def remove() -> ObjectStep:
    """With its attributes and its omap. Raises NotFound."""
    return ObjectStep("remove")


def set_attribute(name: str, value: bytes) -> ObjectStep:
    """Set an attribute."""
    return ObjectStep("set-attribute", name=name, data=value)


def remove_attribute(name: str) -> ObjectStep:
    """Remove an attribute; one that is not there is none the less gone. Raises NotFound (the object)."""
    return ObjectStep("remove-attribute", name=name)


def set_omap(values: Mapping[str, bytes]) -> ObjectStep:
    """Set these keys; the others stay."""
    return ObjectStep("set-omap", values=dict(values))


def remove_omap(names: Iterable[str]) -> ObjectStep:
    """Remove these keys, those of them that there are. Raises NotFound (the object)."""
    return ObjectStep("remove-omap", names=tuple(names))


def remove_omap_range(first: str, end: str) -> ObjectStep:
    """Remove the keys from `first` on and before `end`. Raises NotFound (the object)."""
    return ObjectStep("remove-omap-range", name=first, end=end)


def clear_omap() -> ObjectStep:
    """Remove all keys, and the header. Raises NotFound (the object)."""
    return ObjectStep("clear-omap")


def set_omap_header(data: bytes) -> ObjectStep:
    """Set what the omap has besides its keys."""
    return ObjectStep("set-omap-header", data=data)


def assert_exists() -> ObjectStep:
    """Raises NotFound unless it is there."""
    return ObjectStep("assert-exists")


def assert_missing() -> ObjectStep:
    """Raises AlreadyExists unless it is not there."""
    return ObjectStep("assert-missing")


def assert_version(version: int) -> ObjectStep:
    """Raises Mismatch unless its version (`ObjectStat.version`) before the change is this one; NotFound."""
    return ObjectStep("assert-version", length=version)


def compare(offset: int, data: bytes) -> ObjectStep:
    """Raises Mismatch, with the place, unless these bytes are there. Where no object is, there are zeros."""
    return ObjectStep("compare", offset=offset, data=data)


def compare_attribute(name: str, value: bytes | None) -> ObjectStep:
    """Raises Mismatch unless the attribute has this value (None: is not there). NotFound (the object)."""
    return ObjectStep("compare-attribute", name=name, data=value)


def compare_omap(key: str, value: bytes | None) -> ObjectStep:
    """Raises Mismatch unless the key has this value (None: is not there). NotFound (the object)."""
    return ObjectStep("compare-omap", name=key, data=value)
