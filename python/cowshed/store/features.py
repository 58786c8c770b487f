"""RBD's feature names, and its conditions for switching them."""

from __future__ import annotations

from collections.abc import Sequence

from cowshed.errors import InvalidArgument
from cowshed.store.records import FEATURES

NAMES = (
    "layering",
    "striping",
    "exclusive-lock",
    "object-map",
    "fast-diff",
    "deep-flatten",
    "journaling",
    "data-pool",
    "operations",
    "migrating",
    "non-primary",
    "dirty-cache",
)
"""In the order of their bits."""

_KEPT = (*FEATURES, "striping", "journaling")
"""What an image can have."""
_INTERNAL = ("striping", "data-pool", "operations", "migrating", "non-primary", "dirty-cache")
_MUTABLE = ("exclusive-lock", "object-map", "fast-diff", "journaling")
_NEEDS = {"object-map": "exclusive-lock", "fast-diff": "object-map", "journaling": "exclusive-lock"}


def ordered(features: Sequence[str]) -> tuple[str, ...]:
    """Without repetition, in RBD's order. Raises InvalidArgument for a name that is none."""
    for feature in features:
        if feature not in NAMES:
            raise InvalidArgument(f"there is no feature {feature!r}", hint=f"there are {', '.join(NAMES)}")
    return tuple(name for name in NAMES if name in features)


def parse_features(text: str) -> tuple[str, ...]:
    """From names with commas between them, or the sum of their bits. Raises InvalidArgument."""
    if text.isdecimal():
        bits = int(text)
        if bits >> len(NAMES):
            raise InvalidArgument(f"there are no features {text}")
        return tuple(name for bit, name in enumerate(NAMES) if bits >> bit & 1)
    return ordered([name.strip() for name in text.split(",") if name.strip()])


def asked_for(features: Sequence[str]) -> tuple[str, ...]:
    """Without those that librbd sets itself, and passes over where somebody asks for them."""
    return tuple(name for name in features if name not in _INTERNAL)


def mask(features: Sequence[str]) -> int:
    """The sum of their bits, as librbd has them."""
    return sum(1 << NAMES.index(feature) for feature in features)


def features_here(bits: int) -> tuple[str, ...]:
    """Those of librbd's bits, from another store's image, that an image here can have."""
    return tuple(name for bit, name in enumerate(NAMES) if bits >> bit & 1 and name in _KEPT)


def check_new(features: Sequence[str]) -> tuple[str, ...]:
    """What a new image is to have. Raises InvalidArgument for what no image here can have, or not so."""
    features = ordered(features)
    for feature in features:
        if feature not in _KEPT:
            raise InvalidArgument(f"images here have no {feature}", hint=f"they can have {', '.join(_KEPT)}")
    _check_needs(features)
    return features


def switched(features: Sequence[str], change: Sequence[str], enabled: bool) -> tuple[str, ...]:
    """The features after switching some on or off as librbd does. Raises InvalidArgument where it refuses."""
    change = ordered(change)
    verb = "enabled" if enabled else "disabled"
    if not change:
        raise InvalidArgument("no feature is named")
    for feature in change:
        if feature not in _MUTABLE and (enabled or feature != "deep-flatten"):
            raise InvalidArgument(f"{feature} cannot be {verb}", hint=f"{', '.join(_MUTABLE)} can")
        if (feature in features) == enabled:
            raise InvalidArgument(f"{feature} is {verb} already")
    # librbd lets these two come and go together.
    pair = {"object-map", "fast-diff"}
    if pair & set(change):
        change = ordered([*change, *pair])
    after = ordered([*features, *change]) if enabled else tuple(f for f in features if f not in change)
    _check_needs(after)
    return after


def _check_needs(features: Sequence[str]) -> None:
    for feature, needed in _NEEDS.items():
        if feature in features and needed not in features:
            raise InvalidArgument(f"{feature} needs {needed}", hint=f"{feature} and {needed} go together")
