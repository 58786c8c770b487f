"""The one place where the kernel's errors become cowshed's."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import ParamSpec, TypeVar

from cowshed._kernel import KernelError
from cowshed.refusals import translated

P = ParamSpec("P")
R = TypeVar("R")


class _Boundary:
    """`with kernel_errors:`, or `@kernel_errors`, around calls of the kernel; without state: one serves all
    threads.
    """

    __slots__ = ()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)

        return wrapper

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(value, KernelError):
            raise translated(value) from None


kernel_errors = _Boundary()
