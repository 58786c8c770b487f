"""The engines that the behaviour suite runs against. Another one is another entry of ENGINES."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import cowshed
from cowshed.local import LocalStore
from cowshed.store import Store
from model.kernel_module import REAL
from model.naive_kernel import NaiveKernel


class Engine(ABC):
    """A place where one store can be opened, again and again."""

    missing: str | None = None
    """Why it cannot run here."""

    def __init__(self, room: Path) -> None:
        self.path = room / "store"

    @abstractmethod
    def open(self) -> Store: ...


class Local(Engine):
    missing = None if REAL else "cowshed._kernel is not built"

    def open(self) -> Store:
        return cowshed.open(self.path, create=True)


class LocalOnNaiveKernel(Engine):
    """Tells a fault of the package from one of the kernel."""

    def open(self) -> Store:
        if not self.path.exists():
            NaiveKernel.create(str(self.path))
        return LocalStore(NaiveKernel.open(str(self.path)), str(self.path))  # type: ignore[arg-type]


ENGINES: dict[str, type[Engine]] = {
    "local": Local,
    "naive": LocalOnNaiveKernel,
}
