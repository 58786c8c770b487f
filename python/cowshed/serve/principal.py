"""Who asks, and what he may do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from cowshed.errors import PermissionDenied
from cowshed.wire.operations import ROLES, Role

Scope = MutableMapping[str, Any]
"""Of ASGI: the request as the server saw it (`headers`, `client`, `scheme` …)."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Someone that the daemon knows, and what he may do."""

    name: str
    """What events, tasks and logs call him."""
    role: Role
    pools: frozenset[str] | None = None
    """Those that he may use; None: all, and the store as a whole."""

    def has(self, role: Role) -> bool:
        """Whether he may do what needs this role."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def sees(self, pools: Iterable[str]) -> bool:
        """Whether he may use all of these pools; of none: whether he may use the whole store."""
        if self.pools is None:
            return True
        named = set(pools)
        return bool(named) and named <= self.pools

    def check(self, role: Role, pools: Iterable[str], what: str) -> None:
        """Raises PermissionDenied unless he may do `what` there."""
        if not self.has(role):
            raise PermissionDenied(
                f"{self.name!r} may not {what}: that needs the role {role!r}",
                hint=f"this one has {self.role!r}",
            )
        named = set(pools)
        if not self.sees(named):
            shown = ", ".join(map(repr, sorted(named)))
            where = f"use the pool{'s' * (len(named) > 1)} {shown}" if named else "use the whole store"
            raise PermissionDenied(
                f"{self.name!r} may not {what}: it may not {where}",
                hint=f"it may use {', '.join(sorted(self.pools or ())) or 'no pool'}",
            )


OWNER = Principal("owner", "admin")
"""Whoever can open the control socket: the file system's permissions decided."""

Authorise = Callable[[Scope], Principal]
"""Finds out who sent a request. Raises NotAuthenticated. Called for every request, from worker threads."""


def trusting(scope: Scope) -> Principal:
    """The `Authorise` of the control socket."""
    return OWNER
