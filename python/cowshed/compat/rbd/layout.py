"""What a new image is to be like: features, order and striping, checked as librbd checks them."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from cowshed.compat.rbd.arguments import integer, text, unsigned
from cowshed.compat.rbd.constants import (
    RBD_FEATURE_FAST_DIFF,
    RBD_FEATURE_LAYERING,
    RBD_FEATURE_OBJECT_MAP,
    RBD_FEATURES_ALL,
)
from cowshed.compat.rbd.defaults import given
from cowshed.compat.rbd.errors import InvalidArgument
from cowshed.compat.rbd.translating import answering, make_error
from cowshed.compat.scope import Scope
from cowshed.store import ImageStat
from cowshed.store.features import NAMES, asked_for, parse_features

_ORDERS = range(12, 26)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a caller asked for; None: nothing."""

    features: int | None
    order: int | None
    stripe_unit: int
    stripe_count: int
    data_pool: str | None

    @classmethod
    def of(
        cls, features: object, order: object, stripe_unit: object, stripe_count: object, data_pool: object
    ) -> Layout:
        """Of arguments. Raises TypeError, OverflowError, InvalidArgument as the real module."""
        return cls(
            None if features is None else unsigned(features),
            None if order is None else integer(order),
            0 if stripe_unit is None else unsigned(stripe_unit),
            0 if stripe_count is None else unsigned(stripe_count),
            text(data_pool, "data_pool", True),
        )

    @property
    def spread(self) -> bool:
        """Whether anything was asked for that has to go together with a source's order and striping."""
        return bool(self.order or self.stripe_unit or self.stripe_count)

    def check(self, scope: Scope, message: str) -> None:
        """Raises what librbd answers to a new image that cannot be."""
        self._check_alone(message)
        if bool(self.stripe_unit) != bool(self.stripe_count):
            raise make_error(errno.EINVAL, message)
        if striping := self.striping_for(scope, message):
            _check_fit(self.order or self._default_order(scope, message), striping, message)
        self._check_pool(scope, message)

    def check_after(self, source: ImageStat | None, scope: Scope, message: str) -> None:
        """As `check`, for a clone or copy of `source`, which is needed if this is `spread`."""
        self._check_alone(message)
        if source and (striping := self.striping_after(source)):
            _check_fit(self.order or source.order, striping, message)
        self._check_pool(scope, message)

    def _check_alone(self, message: str) -> None:
        if self.features is not None and self.features & ~RBD_FEATURES_ALL:
            raise make_error(errno.ENOSYS, message)
        if self.order and self.order not in _ORDERS:
            raise make_error(errno.EDOM, message)

    def _check_pool(self, scope: Scope, message: str) -> None:
        if not self.data_pool:
            return
        with answering(message):
            names = [pool.name for pool in scope.store.pools()]
        if self.data_pool not in names:
            raise make_error(errno.ENOENT, message)

    def check_clone(self, message: str) -> None:
        """Raises FunctionNotSupported: a clone cannot be without layering."""
        if self.features is not None and not self.features & RBD_FEATURE_LAYERING:
            raise make_error(errno.ENOSYS, message)

    def _default_order(self, scope: Scope, message: str) -> int:
        with answering(message):
            return int(given(scope, "rbd_default_order") or 22)

    def striping_for(self, scope: Scope, message: str) -> tuple[int, int] | None:
        """What to tell the store of a new image; None: nothing."""
        unit, count = self.stripe_unit, self.stripe_count
        if not unit and not count:
            with answering(message):
                unit = int(given(scope, "rbd_default_stripe_unit") or 0)
                count = int(given(scope, "rbd_default_stripe_count") or 0)
        return (unit, count) if unit and count else None

    def striping_after(self, source: ImageStat | None) -> tuple[int, int] | None:
        """What to tell the store of a clone or copy: what was not given is the source's."""
        if source is None or not self.spread:
            return None
        return self.stripe_unit or source.stripe_unit, self.stripe_count or source.stripe_count

    def order_for(self, scope: Scope, message: str) -> int | None:
        """What to tell the store; None: it decides."""
        if self.order:
            return self.order
        with answering(message):
            configured = given(scope, "rbd_default_order")
        return None if configured is None else int(configured)

    def features_for(self, scope: Scope, message: str) -> tuple[str, ...] | None:
        """What to tell the store; None: it decides."""
        if self.features is None:
            with answering(message):
                configured = given(scope, "rbd_default_features")
                return None if configured is None else asked_for(parse_features(configured))
        # These two come together, and whoever asks for one is taken to mean the first.
        bits = self.features & ~RBD_FEATURE_FAST_DIFF
        if bits & RBD_FEATURE_OBJECT_MAP:
            bits |= RBD_FEATURE_FAST_DIFF
        return asked_for(tuple(name for bit, name in enumerate(NAMES) if bits >> bit & 1))

    def refuse_for_old_format(self) -> None:
        """Raises InvalidArgument if anything was asked for that images of format 1 cannot have."""
        if self.features or self.stripe_unit or self.stripe_count or self.data_pool:
            raise InvalidArgument(
                "format 1 images do not support feature masks, non-default striping, nor data pool"
            )


def _check_fit(order: int, striping: tuple[int, int], message: str) -> None:
    if (1 << order) % striping[0]:
        raise make_error(errno.EINVAL, message)
