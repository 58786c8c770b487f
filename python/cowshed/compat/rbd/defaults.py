"""What holds where a caller says nothing: the pool's configuration, else the client's, else RBD's default."""

from __future__ import annotations

from cowshed.compat.scope import Scope


def setting(scope: Scope, key: str) -> str:
    """The value of an `rbd_…` key for a pool. Raises NotFound for the pool."""
    return settings(scope, key)[key]


def settings(scope: Scope, *keys: str) -> dict[str, str]:
    """Those of several keys, for one question to the store."""
    # Only what was set there: the list of all keys and what holds for each is ten times as long.
    of_pool = scope.store.pool_metadata(scope.pool)
    return {key: of_pool.get(f"conf_{key}") or scope.conf.get(key) or "" for key in keys}


def given(scope: Scope, key: str) -> str | None:
    """The same, but None where neither ceph.conf nor program set it: the store then decides by itself."""
    return None if scope.conf.given(key) is None else setting(scope, key)


def clone_format(scope: Scope) -> int:
    """The client's format of clones, where the pool has none: 1 or 2. `auto` is 1, as where old clients are
    let in.
    """
    return 2 if scope.conf.get("rbd_default_clone_format") == "2" else 1
