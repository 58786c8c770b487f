"""The one table of what can be asked of a store through a daemon: a row for each method of `Store`.

The parameters of a row are its method's, by their names: in the query for GET and DELETE, else in a JSON
object. Specs travel as text, bytes in base64, iterators as lists, `progress` does not travel (see `long`). A
method that returns nothing answers 204. `open` is not here: what is opened is a *handle* (records in
`answers.py`).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from cowshed.store.spec import parse_spec

Role = Literal["read", "operate", "admin"]
ROLES: tuple[Role, ...] = ("read", "operate", "admin")
"""Ascending: who has one may do what the ones before it may."""
CHANGE_OBJECT = "/object"
"""The one path to which much may be sent: an object's data, in one piece."""


class Operation(NamedTuple):
    """How one method of `Store` is asked for."""

    name: str
    """The method's."""
    method: str
    path: str
    """Below the API's prefix; `method` and `path` together belong to one operation."""
    role: Role
    """What the caller must have at least."""
    specs: tuple[str, ...] = ()
    """The parameters that hold specs; what they name must lie in pools that the caller may use."""
    pool: str | None = None
    """The parameter that holds a pool's name, of which the same is true."""
    creates: bool = False
    """Whether it makes something with a name of its own, so that doing it twice would fail."""
    long: bool = False
    """Whether it can run as a task, which counts progress and can be cancelled."""

    @property
    def in_query(self) -> bool:
        """Whether the arguments are in the query; else they are the JSON body."""
        return self.method in ("GET", "DELETE")

    @property
    def changes(self) -> bool:
        """Whether success means that something in the store is different, which events tell."""
        return self.role != "read" and self.name != "check"

    def subjects(self, arguments: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The specs, in full, and the pools that a call is about. Raises InvalidArgument for what is none."""
        specs = [parse_spec(arguments[name]) for name in self.specs if arguments.get(name) is not None]
        pools = {spec.pool for spec in specs}
        if self.pool and arguments.get(self.pool) is not None:
            pools.add(arguments[self.pool])
        return tuple(map(str, specs)), tuple(sorted(pools))


def _rows() -> tuple[Operation, ...]:
    row = Operation
    one = ("spec",)
    return (
        # pools and namespaces
        row("pools", "GET", "/pools", "read"),
        row("create_pool", "POST", "/pools", "admin", pool="name", creates=True),
        row("remove_pool", "DELETE", "/pools", "admin", pool="name"),
        row("pool_stats", "GET", "/pool/stats", "read", pool="name"),
        row("mirror_mode", "GET", "/pool/mirror-mode", "read", pool="name"),
        row("namespaces", "GET", "/namespaces", "read", pool="pool"),
        row("create_namespace", "POST", "/namespaces", "operate", pool="pool", creates=True),
        row("remove_namespace", "DELETE", "/namespaces", "operate", pool="pool"),
        # images
        row("images", "GET", "/images", "read", pool="pool"),
        row("create", "POST", "/images", "operate", one, creates=True),
        row("remove", "DELETE", "/images", "operate", one, long=True),
        row("stat", "GET", "/image", "read", one),
        row("find_image", "GET", "/image/by-id", "read", pool="pool"),
        row("rename", "POST", "/image/rename", "operate", ("spec", "new")),
        row("resize", "POST", "/image/resize", "operate", one),
        row("copy", "POST", "/image/copy", "operate", ("source", "copy"), creates=True, long=True),
        row("deep_copy", "POST", "/image/deep-copy", "operate", ("source", "copy"), creates=True, long=True),
        row("sparsify", "POST", "/image/sparsify", "operate", one, long=True),
        row("update_features", "POST", "/image/features", "operate", one),
        # snapshots
        row("snapshots", "GET", "/snapshots", "read", one),
        row("create_snapshot", "POST", "/snapshots", "operate", one, creates=True),
        row("remove_snapshot", "DELETE", "/snapshots", "operate", one, long=True),
        row("purge_snapshots", "POST", "/snapshots/purge", "operate", one, long=True),
        row("snapshot_limit", "GET", "/snapshots/limit", "read", one),
        row("set_snapshot_limit", "PUT", "/snapshots/limit", "operate", one),
        row("rename_snapshot", "POST", "/snapshot/rename", "operate", ("spec", "new")),
        row("rollback", "POST", "/snapshot/rollback", "operate", one, long=True),
        row("protect_snapshot", "POST", "/snapshot/protect", "operate", one),
        row("unprotect_snapshot", "POST", "/snapshot/unprotect", "operate", one),
        # clones
        row("clone", "POST", "/clones", "operate", ("parent", "child"), creates=True),
        row("children", "GET", "/clones", "read", one),
        row("descendants", "GET", "/clones/descendants", "read", one),
        row("flatten", "POST", "/clones/flatten", "operate", one, long=True),
        # trash
        row("trash", "GET", "/trash", "read", pool="pool"),
        row("trash_move", "POST", "/trash", "operate", one),
        row("trash_restore", "POST", "/trash/restore", "operate", pool="pool"),
        row("trash_remove", "DELETE", "/trash", "operate", pool="pool", long=True),
        row("trash_purge", "POST", "/trash/purge", "operate", pool="pool", long=True),
        # groups
        row("groups", "GET", "/groups", "read", pool="pool"),
        row("create_group", "POST", "/groups", "operate", one, creates=True),
        row("remove_group", "DELETE", "/groups", "operate", one),
        row("group", "GET", "/group", "read", one),
        row("rename_group", "POST", "/group/rename", "operate", ("spec", "new")),
        row("add_to_group", "POST", "/group/images", "operate", ("spec", "image")),
        row("remove_from_group", "DELETE", "/group/images", "operate", ("spec", "image")),
        row("create_group_snapshot", "POST", "/group/snapshots", "operate", one, creates=True),
        row("remove_group_snapshot", "DELETE", "/group/snapshots", "operate", one, long=True),
        row("rename_group_snapshot", "POST", "/group/snapshots/rename", "operate", one),
        row("rollback_group", "POST", "/group/snapshots/rollback", "operate", one, long=True),
        # settings
        row("metadata", "GET", "/metadata", "read", one),
        row("get_metadata", "GET", "/metadata/value", "read", one),
        row("set_metadata", "PUT", "/metadata", "operate", one),
        row("remove_metadata", "DELETE", "/metadata", "operate", one),
        row("pool_metadata", "GET", "/pool/metadata", "read", pool="pool"),
        row("set_pool_metadata", "PUT", "/pool/metadata", "operate", pool="pool"),
        row("remove_pool_metadata", "DELETE", "/pool/metadata", "operate", pool="pool"),
        row("config", "GET", "/config", "read", ("where",), "pool"),
        row("set_config", "PUT", "/config", "operate", ("image",), "pool"),
        row("remove_config", "DELETE", "/config", "operate", ("image",), "pool"),
        # objects
        row("objects", "GET", "/objects", "read", pool="pool"),
        row("object_namespaces", "GET", "/objects/namespaces", "read", pool="pool"),
        row("stat_object", "GET", "/object", "read", pool="pool"),
        row("read_object", "GET", "/object/data", "read", pool="pool"),
        row("object_attributes", "GET", "/object/attributes", "read", pool="pool"),
        row("object_omap", "GET", "/object/omap", "read", pool="pool"),
        row("object_omap_values", "POST", "/object/omap/values", "read", pool="pool"),
        row("object_omap_header", "GET", "/object/omap/header", "read", pool="pool"),
        row("change_object", "POST", CHANGE_OBJECT, "operate", pool="pool"),
        # locks
        row("locks", "GET", "/locks", "read", one),
        row("lock", "POST", "/locks", "operate", one),
        row("unlock", "DELETE", "/locks", "operate", one),
        row("break_lock", "POST", "/locks/break", "operate", one),
        row("watchers", "GET", "/watchers", "read", one),
        # moves
        row("migration", "GET", "/migrations", "read", one),
        row("prepare_migration", "POST", "/migrations", "operate", ("source", "target")),
        row("execute_migration", "POST", "/migrations/execute", "operate", one, long=True),
        row("commit_migration", "POST", "/migrations/commit", "operate", one, long=True),
        row("abort_migration", "POST", "/migrations/abort", "operate", one, long=True),
        # space
        row("usage", "GET", "/usage", "read", one),
        row("facts", "GET", "/store/facts", "read"),
        row("store_usage", "GET", "/store/usage", "read"),
        row("check", "POST", "/store/check", "admin", long=True),
        row("reclaim", "POST", "/store/reclaim", "admin", long=True),
    )


OPERATIONS: dict[str, Operation] = {row.name: row for row in _rows()}
"""By name."""
