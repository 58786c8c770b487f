"""What one run of the program knows: which store, and how patient it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cowshed.errors import InvalidArgument
from cowshed.store import Store

DEFAULT_LOCK_WAIT = 5.0


@dataclass
class Session:
    """The global options of this run."""

    store: str | None = None
    lock_wait: float | None = None
    verb: str = ""
    """The verb that runs (`snap create`), for the first words of a complaint."""
    program: str = "cowshed"
    """By what name it was called."""
    opener: Callable[[], Store] | None = None
    """Opens the store, where no target says how."""
    defaults: dict[str, str] = field(default_factory=dict)
    """What a client's configuration says of new images, by RBD's keys."""

    @property
    def asked(self) -> str:
        """The command as far as it is known, without its arguments."""
        return f"{self.program} {self.verb}".rstrip()

    @property
    def target(self) -> str:
        """The store that was named. Raises InvalidArgument when none was."""
        if not self.store:
            raise InvalidArgument(
                "no store is named",
                hint="give --store DIR or set COWSHED_STORE; `cowshed init DIR` makes a new one",
            )
        return self.store

    def open(self) -> Store:
        """Open the store. Use it as a context manager."""
        if self.opener is not None:
            return self.opener()
        from cowshed.opening import open as open_store

        wait = DEFAULT_LOCK_WAIT if self.lock_wait is None else self.lock_wait
        return open_store(self.target, wait_seconds=wait, owner=self.asked)
