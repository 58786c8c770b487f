"""Calls on pools, the same for the real module `rbd` and for cowshed's: what each answers, a line each.

`/usr/bin/python3 tests/compat/pool_programme.py CEPH_CONF` prints what a real cluster answers; that is kept
in pool_programme.txt. Only the standard library is imported here, as the system's Python runs this, too.
"""

# mypy: disable-error-code="misc"
# (It infers no type for a lambda whose defaults hold the loop's variables.)

from __future__ import annotations

import datetime
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Protocol

M = 1 << 20
POOLS = ("programme-a", "programme-b")


class Place(Protocol):
    """What differs between a cluster and a store: how an Ioctx comes about, and what images do."""

    rbd: Any

    def ioctx(self, pool: str, namespace: str = "") -> Any: ...

    def configure(self, key: str, value: str) -> None:
        """Set a key of the client's configuration."""

    def opened(self, ioctx: Any, name: str) -> Any:
        """An image open for writing, with `close`."""

    def snap(self, ioctx: Any, name: str, verb: str, snapshot: str) -> None:
        """`create`, `remove`, `protect` or `unprotect` a snapshot; errors as the module's."""

    def facts(self, ioctx: Any, name: str) -> tuple[object, ...]:
        """Order, size, features, op_features and parent's names of an image."""

    def flatten(self, ioctx: Any, name: str) -> None: ...


class Programme:
    """Collects the lines of one run."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.rbd = place.rbd
        self.r = place.rbd.RBD()
        self.lines: list[str] = []
        self.a, self.b = (place.ioctx(pool) for pool in POOLS)

    def run(self) -> list[str]:
        for part in (
            self.naming,
            self.creating,
            self.cloning,
            self.holding,
            self.removing,
            self.trash,
            self.purging,
            self.moving,
            self.namespaces,
            self.settings,
            self.groups,
            self.mirroring,
            self.features,
        ):
            self.lines.append(f"# {part.__name__}")
            part()
        return self.lines

    def ask(self, label: str, call: Callable[[], object]) -> None:
        """Note what a call answers or raises. Ids and random names are written as `ID`."""
        try:
            said = f"{label} => {_plain(call())!r}"
        except Exception as error:
            code = getattr(error, "errno", None)
            said = f"{label} =>! {type(error).__name__} {code} {error}"
        said = re.sub(r"'[0-9a-f]{8}-[0-9a-f-]{27}'", "'UUID'", said)
        self.lines.append(re.sub(r"'[0-9a-f]{10,16}'", "'ID'", said))

    def naming(self) -> None:
        r, a = self.r, self.a
        for name in ("plain", "with space", "é", b"bytes"):
            self.ask(f"create {name!r}", lambda name=name: r.create(a, name, M))
        self.ask("list", lambda: r.list(a))
        self.ask("list2", lambda: [sorted(entry) for entry in r.list2(a)])
        self.ask("list2 names", lambda: [entry["name"] for entry in r.list2(a)])
        for bad in ("", None, 5):
            self.ask(f"create {bad!r}", lambda bad=bad: r.create(a, bad, M))
        self.ask("create again", lambda: r.create(a, "plain", M))
        self.ask("rename", lambda: r.rename(a, "plain", "other"))
        self.ask("rename none", lambda: r.rename(a, "plain", "more"))
        self.ask("rename taken", lambda: r.rename(a, "other", "é"))
        self.ask("rename same", lambda: r.rename(a, "other", "other"))
        self.ask("rename empty", lambda: r.rename(a, "other", ""))
        self.ask("rename to 5", lambda: r.rename(a, "other", 5))
        self.ask("remove none", lambda: r.remove(a, "none"))
        self.ask("remove 5", lambda: r.remove(a, 5))
        for name in ("other", "with space", "é", "bytes"):
            self.ask(f"remove {name}", lambda name=name: r.remove(a, name))
        self.ask("list", lambda: r.list(a))

    def creating(self) -> None:
        r, a = self.r, self.a
        for size in (0, 1, 1 << 40, (1 << 63) - 1, 1 << 63, 1 << 64, -1, "a", None, 1.5):
            self._made(f"size {size!r}", lambda size=size: r.create(a, "i", size))
        for order in (0, 11, 12, 25, 26, -1, "a"):
            self._made(f"order {order!r}", lambda order=order: r.create(a, "i", M, order))
        for features in (0, 1, 2, 4, 5, 8, 12, 16, 28, 61, 64, 128, 256, 512, 1024, 2048, 1 << 20, -1, "a"):
            self._made(f"features {features!r}", lambda f=features: r.create(a, "i", M, features=f))
        self._made("positional", lambda: r.create(a, "i", M, 23, False, 61, 0, 0))
        for key in ("rbd_default_order", "rbd_default_features"):
            self.place.configure(key, {"rbd_default_order": "20", "rbd_default_features": "3"}[key])
            self._made(f"{key} of the client", lambda: r.create(a, "i", M))
        self.ask("pool's order", lambda: r.config_set(a, "rbd_default_order", "24"))
        self._made("rbd_default_order of the pool", lambda: r.create(a, "i", M))
        self.ask("pool's order", lambda: r.config_remove(a, "rbd_default_order"))
        self.place.configure("rbd_default_order", "22")
        self.place.configure("rbd_default_features", "61")
        for stripes in ((65536, 0), (65536, None), (None, 4), (5000, 2), (8 << 20, 2), (4 << 20, 1), (0, 0)):
            unit, count = stripes
            self._made(
                f"stripes {stripes}",
                lambda u=unit, c=count: r.create(a, "i", M, stripe_unit=u, stripe_count=c),
            )
        self._made("old_format", lambda: r.create(a, "i", M, old_format=True))
        for extra in ({"features": 1}, {"stripe_unit": 4096, "stripe_count": 2}, {"data_pool": POOLS[1]}):
            self._made(f"old_format {extra}", lambda e=extra: r.create(a, "i", M, old_format=True, **e))
        for pool in ("nope", POOLS[0], "", 3):
            self._made(f"data_pool {pool!r}", lambda p=pool: r.create(a, "i", M, data_pool=p))

    def _made(self, label: str, make: Callable[[], object]) -> None:
        """What a call makes, and that away again."""

        def made() -> object:
            make()
            facts = self.place.facts(self.a, "i")
            self.r.remove(self.a, "i")
            return facts

        self.ask(label, made)

    def cloning(self) -> None:
        r, a, b, place = self.r, self.a, self.b, self.place
        place.configure("rbd_default_clone_format", "1")
        r.create(a, "p", 8 * M, 22)
        place.snap(a, "p", "create", "s")
        self.ask("unprotected", lambda: r.clone(a, "p", "s", b, "c"))
        place.snap(a, "p", "protect", "s")
        self.ask("clone", lambda: r.clone(a, "p", "s", b, "c", features=61))
        self.ask("facts", lambda: place.facts(b, "c"))
        self.ask("taken", lambda: r.clone(a, "p", "s", b, "c"))
        self.ask("no image", lambda: r.clone(a, "none", "s", b, "d"))
        self.ask("no snapshot", lambda: r.clone(a, "p", "none", b, "d"))
        self.ask("bad name", lambda: r.clone(a, "p", None, b, "d"))
        for extra in (
            {"features": 0},
            {"features": 4},
            {"features": 1},
            {"features": 3},
            {"features": 1 << 20},
            {"order": 0},
            {"order": 11},
            {"order": 20},
            {"order": 22},
            {"stripe_unit": 65536},
            {"data_pool": "nope"},
            {},
        ):

            def cloned(extra: Any = extra) -> object:
                r.clone(a, "p", "s", b, "d", **extra)
                facts = place.facts(b, "d")
                r.remove(b, "d")
                return facts

            self.ask(f"clone {extra}", cloned)

    def holding(self) -> None:
        """How clones of both formats hold their parents; `p` and its clone `c` are there."""
        r, a, b, place = self.r, self.a, self.b, self.place
        self.ask("unprotect", lambda: place.snap(a, "p", "unprotect", "s"))
        self.ask("remove snapshot", lambda: place.snap(a, "p", "remove", "s"))
        self.ask("remove parent", lambda: r.remove(a, "p"))
        r.remove(b, "c")
        self.ask("unprotect after", lambda: place.snap(a, "p", "unprotect", "s"))
        self.ask("remove snapshot after", lambda: place.snap(a, "p", "remove", "s"))
        self.ask("remove parent after", lambda: r.remove(a, "p"))

        place.configure("rbd_default_clone_format", "2")
        r.create(a, "p", M)
        place.snap(a, "p", "create", "s")
        place.snap(a, "p", "protect", "s")
        for name in ("c", "d"):
            self.ask(f"clone {name}", lambda name=name: r.clone(a, "p", "s", b, name))
        self.ask("facts", lambda: (place.facts(a, "p"), place.facts(b, "c")))
        self.ask("unprotect", lambda: place.snap(a, "p", "unprotect", "s"))
        self.ask("remove parent", lambda: r.remove(a, "p"))
        self.ask("remove snapshot", lambda: place.snap(a, "p", "remove", "s"))
        self.ask("remove parent with a kept snapshot", lambda: r.remove(a, "p"))
        self.ask("facts", lambda: (place.facts(a, "p"), place.facts(b, "c")))
        self.ask("parent to the trash", lambda: r.trash_move(a, "p"))
        image_id = next(iter(r.trash_list(a)))["id"]
        self.ask("remove it there", lambda: r.trash_remove(a, image_id))
        self.ask("purge it there", lambda: r.trash_purge(a))
        self.ask("facts", lambda: place.facts(b, "c"))
        r.remove(b, "c")
        self.ask("flatten the last", lambda: place.flatten(b, "d"))
        self.ask("remove it there", lambda: r.trash_remove(a, image_id))
        r.remove(b, "d")

        r.create(a, "p", M)
        place.snap(a, "p", "create", "s")
        place.snap(a, "p", "protect", "s")
        r.config_set(b, "rbd_default_clone_format", "1")
        self.ask("the child's pool decides", lambda: r.clone(a, "p", "s", b, "c"))
        self.ask("facts", lambda: place.facts(b, "c"))
        r.config_remove(b, "rbd_default_clone_format")
        r.remove(b, "c")
        place.snap(a, "p", "unprotect", "s")
        place.snap(a, "p", "remove", "s")
        r.remove(a, "p")

    def removing(self) -> None:
        r, a, place = self.r, self.a, self.place
        r.create(a, "i", M)
        image = place.opened(a, "i")
        self.ask("while open", lambda: r.remove(a, "i"))
        place.snap(a, "i", "create", "s")
        self.ask("while open, with a snapshot", lambda: r.remove(a, "i"))
        image.close()
        self.ask("with a snapshot", lambda: r.remove(a, "i"))
        place.snap(a, "i", "remove", "s")
        self.ask("progress", lambda: r.remove(a, "i", on_progress=lambda done, total: 0))
        r.create(a, "i", M)
        self.ask("as an argument by name", lambda: r.remove(ioctx=a, name="i"))
        r.config_set(a, "rbd_move_to_trash_on_remove", "true")
        r.create(a, "i", M)
        self.ask("to the trash", lambda: r.remove(a, "i"))
        r.config_remove(a, "rbd_move_to_trash_on_remove")
        self.ask("trash", lambda: [(entry["name"], entry["source"]) for entry in r.trash_list(a)])
        self._clear()

    def _clear(self) -> None:
        """Empty the trash."""
        for entry in [*self.r.trash_list(self.a)]:
            self.r.trash_remove(self.a, entry["id"], True)

    def trash(self) -> None:
        r, a, place = self.r, self.a, self.place
        for call in (r.trash_get, r.trash_remove):
            self.ask(f"{call.__name__} none", lambda call=call: call(a, "zz"))
            self.ask(f"{call.__name__} 5", lambda call=call: call(a, 5))
        self.ask("trash_restore none", lambda: r.trash_restore(a, "zz", "q"))
        self.ask("trash_move none", lambda: r.trash_move(a, "zz"))
        self.ask("trash_list", lambda: [*r.trash_list(a)])
        for name in ("i", "j"):
            r.create(a, name, M)
        self.ask("trash_move", lambda: r.trash_move(a, "i", 3600))
        image_id = next(iter(r.trash_list(a)))["id"]
        self.ask("list", lambda: r.list(a))
        self.ask("names", lambda: [(entry["name"], entry["source"]) for entry in r.trash_list(a)])
        self.ask(
            "kinds", lambda: {key: type(value).__name__ for key, value in r.trash_get(a, image_id).items()}
        )
        self.ask("zone", lambda: r.trash_get(a, image_id)["deletion_time"].tzinfo)

        def age() -> object:
            entry = r.trash_get(a, image_id)
            now = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
            kept = entry["deferment_end_time"] - entry["deletion_time"]
            return (kept.total_seconds(), abs((now - entry["deletion_time"]).total_seconds()) < 60)

        self.ask("times", age)
        self.ask("too early", lambda: r.trash_remove(a, image_id))
        self.ask("taken", lambda: r.trash_restore(a, image_id, "j"))
        self.ask("restore to None", lambda: r.trash_restore(a, image_id, None))
        self.ask("restore to its name", lambda: r.trash_restore(a, image_id, ""))
        self.ask("again", lambda: r.trash_restore(a, image_id, ""))
        r.trash_move(a, "i", 3600)
        self.ask("restore to another", lambda: r.trash_restore(a, image_id, "k"))
        self.ask("list", lambda: r.list(a))
        place.snap(a, "k", "create", "s")
        r.trash_move(a, "k", 0)
        self.ask("with a snapshot", lambda: r.trash_remove(a, image_id))
        r.trash_restore(a, image_id, "k")
        place.snap(a, "k", "remove", "s")
        r.trash_move(a, "k", 3600)
        self.ask("by force", lambda: r.trash_remove(a, image_id, True))
        r.remove(a, "j")

    def purging(self) -> None:
        r, a = self.r, self.a

        def left() -> int:
            return len([*r.trash_list(a)])

        later = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(days=1)
        for name in ("i", "j"):
            r.create(a, name, M)
            r.trash_move(a, name, 3600)
        self.ask("before their time", lambda: (r.trash_purge(a), left()))
        self.ask("as if tomorrow", lambda: (r.trash_purge(a, later), left()))
        for name in ("i", "j"):
            r.create(a, name, M)
            r.trash_move(a, name, 3600)
        self.ask("threshold 2", lambda: (r.trash_purge(a, threshold=2.0), left()))
        self.ask("threshold 1", lambda: (r.trash_purge(a, threshold=1.0), left()))
        self._clear()
        self.ask("no time", lambda: r.trash_purge(a, "x"))

    def moving(self) -> None:
        r, a, b, place = self.r, self.a, self.b, self.place
        r.create(a, "i", M)
        r.create(b, "taken", M)
        self.ask("prepare none", lambda: r.migration_prepare(a, "zz", b, "y"))
        self.ask("prepare taken", lambda: r.migration_prepare(a, "i", b, "taken"))
        image = place.opened(a, "i")
        self.ask("prepare open", lambda: r.migration_prepare(a, "i", b, "j"))
        image.close()
        for name in ("migration_execute", "migration_commit", "migration_abort", "migration_status"):
            self.ask(f"{name} none", lambda name=name: getattr(r, name)(a, "zz"))
            self.ask(f"{name} at rest", lambda name=name: getattr(r, name)(a, "i"))
        self.ask("prepare", lambda: r.migration_prepare(a, "i", b, "j"))
        self.ask("lists", lambda: (r.list(a), r.list(b)))
        self.ask("prepare again", lambda: r.migration_prepare(b, "j", a, "k"))
        self.ask("remove", lambda: r.remove(b, "j"))
        self.ask("commit too early", lambda: r.migration_commit(b, "j"))

        def status() -> dict[str, object]:
            found = dict(r.migration_status(b, "j"))
            ids = {a.get_pool_id(): "a", b.get_pool_id(): "b"}
            for key in ("source_pool_id", "dest_pool_id"):
                found[key] = ids[found[key]]
            found["source_image_id"] = found["dest_image_id"] = "some"
            return found

        self.ask("status", status)
        self.ask("abort", lambda: r.migration_abort(b, "j"))
        self.ask("lists", lambda: (r.list(a), r.list(b)))
        r.migration_prepare(a, "i", b, "j")
        self.ask("execute", lambda: r.migration_execute(b, "j"))
        self.ask("status", status)
        self.ask("execute again", lambda: r.migration_execute(b, "j"))
        self.ask("commit", lambda: r.migration_commit(b, "j"))
        self.ask("lists", lambda: (r.list(a), r.list(b)))
        r.remove(b, "j")
        r.remove(b, "taken")

    def namespaces(self) -> None:
        r, a = self.r, self.a
        self.ask("list", lambda: r.namespace_list(a))
        self.ask("create", lambda: r.namespace_create(a, "n"))
        self.ask("again", lambda: r.namespace_create(a, "n"))
        self.ask("empty", lambda: r.namespace_create(a, ""))
        self.ask("bad", lambda: r.namespace_create(a, None))
        self.ask("exists", lambda: (r.namespace_exists(a, "n"), r.namespace_exists(a, "m")))
        self.ask("exists empty", lambda: r.namespace_exists(a, ""))
        self.ask("list", lambda: r.namespace_list(a))
        n = self.place.ioctx(POOLS[0], "n")
        self.ask("image in it", lambda: r.create(n, "i", M))
        self.ask("lists", lambda: (r.list(a), r.list(n)))
        self.ask("remove busy", lambda: r.namespace_remove(a, "n"))
        self.ask("remove none", lambda: r.namespace_remove(a, "m"))
        self.ask("remove empty", lambda: r.namespace_remove(a, ""))
        self.ask("remove image", lambda: r.remove(n, "i"))
        self.ask("remove", lambda: r.namespace_remove(a, "n"))
        self.ask("create in none", lambda: r.create(n, "i", M))
        self.ask("pool_init", lambda: (r.pool_init(a, False), r.pool_init(a, True)))

    def settings(self) -> None:
        r, a = self.r, self.a
        self.ask("metadata", lambda: [*r.pool_metadata_list(a)])
        self.ask("set", lambda: (r.pool_metadata_set(a, "k/1", "välue"), r.pool_metadata_set(a, "b", "")))
        self.ask("metadata", lambda: [*r.pool_metadata_list(a)])
        self.ask("get", lambda: r.pool_metadata_get(a, "k/1"))
        self.ask("get none", lambda: r.pool_metadata_get(a, "none"))
        self.ask("remove", lambda: (r.pool_metadata_remove(a, "k/1"), r.pool_metadata_remove(a, "b")))
        self.ask("remove none", lambda: r.pool_metadata_remove(a, "b"))
        self.ask("as configuration", lambda: r.pool_metadata_set(a, "conf_rbd_cache", "false"))
        self.ask("listed", lambda: [option for option in r.config_list(a) if option["name"] == "rbd_cache"])
        self.ask("config_get", lambda: r.config_get(a, "rbd_cache"))
        self.ask("config_get unset", lambda: r.config_get(a, "rbd_cache_size"))
        self.ask("config_get unknown", lambda: r.config_get(a, "zz"))
        self.ask("config_set", lambda: r.config_set(a, "rbd_cache_size", "100"))
        self.ask("config_get", lambda: r.config_get(a, "rbd_cache_size"))
        for key, value in (("rbd_cache_size", "abc"), ("zz", "1"), ("debug_ms", "1")):
            self.ask(f"config_set {key} {value}", lambda k=key, v=value: r.config_set(a, k, v))
        self.ask("config_remove", lambda: r.config_remove(a, "rbd_cache_size"))
        self.ask("config_remove again", lambda: r.config_remove(a, "rbd_cache_size"))
        self.ask("config_remove unknown", lambda: r.config_remove(a, "zz"))
        self.ask("pool_metadata_remove", lambda: r.pool_metadata_remove(a, "conf_rbd_cache"))
        self.ask("metadata", lambda: [*r.pool_metadata_list(a)])
        r.create(a, "i", 3 * M)
        self.place.snap(a, "i", "create", "s")
        r.create(a, "j", M)
        r.trash_move(a, "j", 0)
        self.ask("stats", lambda: r.pool_stats_get(a))
        self._clear()
        self.place.snap(a, "i", "remove", "s")
        r.remove(a, "i")

    def groups(self) -> None:
        r, a, b, rbd = self.r, self.a, self.b, self.rbd
        self.ask("create", lambda: r.group_create(a, "g"))
        self.ask("again", lambda: r.group_create(a, "g"))
        self.ask("empty", lambda: r.group_create(a, ""))
        self.ask("bad", lambda: r.group_create(a, 5))
        r.group_create(a, "h")
        self.ask("list", lambda: r.group_list(a))
        self.ask("rename none", lambda: r.group_rename(a, "zz", "y"))
        self.ask("rename taken", lambda: r.group_rename(a, "g", "h"))
        self.ask("rename", lambda: r.group_rename(a, "g", "f"))
        self.ask("remove none", lambda: r.group_remove(a, "zz"))
        r.create(a, "i", M)
        r.create(b, "j", M)
        r.create(a, "k", M)
        g, none = rbd.Group(a, "f"), rbd.Group(a, "zz")
        self.ask("add none", lambda: g.add_image(a, "zz"))
        self.ask("add", lambda: (g.add_image(a, "i"), g.add_image(b, "j")))
        self.ask("add again", lambda: g.add_image(a, "i"))
        self.ask("add to another", lambda: rbd.Group(a, "h").add_image(a, "i"))
        self.ask("add to none", lambda: none.add_image(a, "k"))
        pools = {a.get_pool_id(): "a", b.get_pool_id(): "b"}
        self.ask("images", lambda: [dict(image, pool=pools[image["pool"]]) for image in g.list_images()])
        self.ask("remove member", lambda: r.remove(a, "i"))
        self.ask("of none", lambda: ([*none.list_images()], [*none.list_snaps()]))
        self.ask("snap of none", lambda: none.create_snap("s"))
        self.ask("snap", lambda: g.create_snap("s"))
        self.ask("snap again", lambda: g.create_snap("s"))
        self.ask("snap empty", lambda: g.create_snap(""))
        self.ask("snap flags", lambda: g.create_snap("t", 1))
        self.ask("snap bad flags", lambda: g.create_snap("u", 99))
        self.ask("snaps", lambda: sorted((snap["name"], snap["state"]) for snap in g.list_snaps()))
        self.ask("rename snap none", lambda: g.rename_snap("zz", "y"))
        self.ask("rename snap taken", lambda: g.rename_snap("s", "t"))
        self.ask("rename snap", lambda: g.rename_snap("s", "v"))
        self.ask("rollback", lambda: g.rollback_to_snap("v"))
        self.ask("rollback none", lambda: g.rollback_to_snap("zz"))
        self.ask("remove snap none", lambda: g.remove_snap("zz"))
        self.ask("remove snap", lambda: g.remove_snap("t"))
        self.ask("remove image none", lambda: g.remove_image(a, "zz"))
        self.ask("remove image of no group", lambda: g.remove_image(a, "k"))
        self.ask("remove image", lambda: g.remove_image(a, "i"))
        self.ask("snaps", lambda: sorted((snap["name"], snap["state"]) for snap in g.list_snaps()))
        self.ask("remove snap", lambda: g.remove_snap("v"))
        self.ask("remove", lambda: r.group_remove(a, "f"))
        self.ask("list", lambda: r.group_list(a))
        with rbd.Group(a, "h") as h:
            self.ask("in a with", lambda: [*h.list_images()])
        r.group_remove(a, "h")
        for ioctx, name in ((a, "i"), (b, "j"), (a, "k")):
            r.remove(ioctx, name)

    def mirroring(self) -> None:
        r, a = self.r, self.a
        self.ask("mode", lambda: r.mirror_mode_get(a))
        self.ask("mode off", lambda: r.mirror_mode_set(a, 0))
        self.ask("mode 9", lambda: r.mirror_mode_set(a, 9))
        self.ask("uuid", lambda: r.mirror_uuid_get(a))
        self.ask("token", lambda: r.mirror_peer_bootstrap_create(a))
        self.ask("import", lambda: r.mirror_peer_bootstrap_import(a, 2, "zz"))
        self.ask("add", lambda: r.mirror_peer_add(a, "s", "client.x"))
        self.ask("remove", lambda: r.mirror_peer_remove(a, "x"))
        self.ask("peers", lambda: [*r.mirror_peer_list(a)])
        for name in ("client", "name", "cluster"):
            self.ask(f"set {name}", lambda name=name: getattr(r, f"mirror_peer_set_{name}")(a, "x", "y"))
        self.ask("attributes", lambda: r.mirror_peer_get_attributes(a, "x"))
        self.ask("set attributes", lambda: r.mirror_peer_set_attributes(a, "x", {"mon_host": "y"}))
        self.ask("status", lambda: [*r.mirror_image_status_list(a)])
        self.ask("summary", lambda: r.mirror_image_status_summary(a))
        self.ask("instances", lambda: [*r.mirror_image_instance_id_list(a)])
        self.ask("infos", lambda: ([*r.mirror_image_info_list(a)], [*r.mirror_image_info_list(a, 1)]))

    def features(self) -> None:
        r = self.r
        self.ask("version", lambda: r.version())
        for bits in (0, 61, 2048, 4095, 4096, 1 << 40, -1, "a", None):
            self.ask(f"features_to_string {bits!r}", lambda bits=bits: r.features_to_string(bits))
        for text in (
            "",
            "61",
            "layering",
            "layering,striping",
            "layering, striping",
            "lay",
            "x,layering",
            b"layering",
        ):
            self.ask(f"features_from_string {text!r}", lambda text=text: r.features_from_string(text))
        self.ask("features_from_string None", lambda: r.features_from_string(None))


def _plain(value: object) -> object:
    """With generators and iterators of the modules' own written out."""
    return [*value] if isinstance(value, types.GeneratorType) else value


class Cluster:
    """The real modules."""

    def __init__(self, conf: str) -> None:
        import rados
        import rbd

        self.rbd = rbd
        self._rados = rados.Rados(conffile=conf, rados_id="admin")
        self._rados.connect(timeout=30)
        for pool in POOLS:
            if self._rados.pool_exists(pool):
                self._rados.delete_pool(pool)
            self._rados.create_pool(pool)
            with self._rados.open_ioctx(pool) as ioctx:
                rbd.RBD().pool_init(ioctx, True)

    def ioctx(self, pool: str, namespace: str = "") -> Any:
        ioctx = self._rados.open_ioctx(pool)
        ioctx.set_namespace(namespace)
        return ioctx

    def configure(self, key: str, value: str) -> None:
        self._rados.conf_set(key, value)

    def opened(self, ioctx: Any, name: str) -> Any:
        return self.rbd.Image(ioctx, name)

    def snap(self, ioctx: Any, name: str, verb: str, snapshot: str) -> None:
        with self.rbd.Image(ioctx, name) as image:
            getattr(image, f"{verb}_snap")(snapshot)

    def facts(self, ioctx: Any, name: str) -> tuple[object, ...]:
        with self.rbd.Image(ioctx, name) as image:
            try:
                parent = image.parent_info()
            except self.rbd.ImageNotFound:
                parent = None
            return (image.stat()["order"], image.size(), image.features(), image.op_features(), parent)

    def flatten(self, ioctx: Any, name: str) -> None:
        with self.rbd.Image(ioctx, name) as image:
            image.flatten()


def lines_of(conf: str) -> Iterator[str]:
    """What the cluster of a ceph.conf answers."""
    return iter(Programme(Cluster(conf)).run())


if __name__ == "__main__":
    print("\n".join(lines_of(sys.argv[1])))
