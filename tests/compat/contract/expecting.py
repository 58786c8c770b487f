"""How an expectation is written, and where they all are listed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .world import World


@dataclass(frozen=True)
class Expectation:
    """One thing that the real modules do.

    `proves` names the calls that it is about (`rbd.Image.size`); `says` is the sentence for people. `off`
    marks what is there but switched off on a cluster that was not set up for it. `differs` says why cowshed
    answers otherwise, on purpose: there it has to fail.
    """

    name: str
    proves: tuple[str, ...]
    says: str
    off: bool
    differs: str
    run: Callable[[World], None]


EXPECTATIONS: dict[str, Expectation] = {}


def expect(
    *proves: str, off: bool = False, differs: str = ""
) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
    """Enlist a function as an expectation; its docstring is the sentence. A name is used once."""

    def enlist(run: Callable[[World], None]) -> Callable[[World], None]:
        if run.__name__ in EXPECTATIONS:
            raise ValueError(f"two expectations are called {run.__name__}")
        says = " ".join((run.__doc__ or "").split())
        if not says or not proves:
            raise ValueError(f"{run.__name__} does not say what it expects, or of which call")
        EXPECTATIONS[run.__name__] = Expectation(run.__name__, proves, says, off, differs, run)
        return run

    return enlist


def same(got: object, wanted: object, what: str = "") -> None:
    """Fail unless both are equal and of one type."""
    if got != wanted or type(got) is not type(wanted):
        raise AssertionError(f"{what + ': ' if what else ''}{got!r}, not {wanted!r}")


def shaped(got: object, **types: type) -> dict[str, Any]:
    """Fail unless `got` is a dict with exactly these keys, each of its type; gives it back."""
    if not isinstance(got, dict) or set(got) != set(types):
        raise AssertionError(f"{got!r}, not a dict of {', '.join(types)}")
    for key, kind in types.items():
        assert isinstance(got[key], kind), f"{key}: {got[key]!r} is no {kind.__name__}"
    return got


@contextmanager
def refused(error: type[BaseException], errno: int | None = None) -> Iterator[None]:
    """Fail unless the body raises exactly this class, with this errno where one is given."""
    try:
        yield
    except BaseException as raised:
        if type(raised) is not error:
            raise AssertionError(f"{type(raised).__name__} ({raised}), not {error.__name__}") from raised
        if errno is not None and getattr(raised, "errno", None) != errno:
            number = getattr(raised, "errno", None)
            raise AssertionError(f"{error.__name__} with errno {number}, not {errno}") from raised
    else:
        raise AssertionError(f"nothing was refused; {error.__name__} was expected")
