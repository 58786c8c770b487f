"""The engines that the behaviour suite runs against. Another one is another entry of ENGINES."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import cowshed
from cowshed.local import LocalStore
from cowshed.remote import RemoteStore
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

    def stop(self) -> None:  # noqa: B027
        """Let go what the engine keeps running between openings."""


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


class Remote(Engine):
    """Through a daemon, which lives as long as the test."""

    missing = None if REAL else "cowshed._kernel is not built"

    def __init__(self, room: Path) -> None:
        from remote.daemon import ServedStore  # needs the compiled kernel

        super().__init__(room)
        self._daemon = ServedStore(self.path)

    def open(self) -> Store:
        store = cowshed.open(self.path)
        assert isinstance(store, RemoteStore)
        return store

    def stop(self) -> None:
        self._daemon.stop()


ENGINES: dict[str, type[Engine]] = {
    "local": Local,
    "naive": LocalOnNaiveKernel,
    "remote": Remote,
}
