"""`Ioctx`: one pool, and a namespace in it."""

from __future__ import annotations

import copy
import errno
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from cowshed.compat.rados.aio import AsynchronousCalls
from cowshed.compat.rados.applications import Applications
from cowshed.compat.rados.errors import IoctxStateError, asking, make_ex, name_text
from cowshed.compat.rados.object import ObjectIterator
from cowshed.compat.rados.unsupported import Unsupported
from cowshed.compat.scope import Scope
from cowshed.errors import NotFound
from cowshed.process import Home

if TYPE_CHECKING:
    from cowshed.compat.rados.cluster import Rados


class Ioctx(AsynchronousCalls, Applications, Unsupported):
    """Made by `Rados.open_ioctx`. Open until `close`, or the end of its Rados."""

    def __init__(self, rados: Rados, name: str, pool: str, pool_id: int | None = None) -> None:
        """`pool` is the pool's name; its id is asked for when it is needed."""
        super().__init__()
        self._rados = rados
        self._pool = pool
        self._pool_id = pool_id
        self._home = Home()
        self.name = name
        self.state = "open"
        self.nspace = ""
        self.locator_key = ""

    def scope(self) -> Scope:
        """Where calls go. Raises IoctxStateError, RadosStateError."""
        self.require_ioctx_open()
        return Scope(self._rados.store, self._pool, self.nspace, self._rados.configuration, self._home)

    def require_ioctx_open(self) -> None:
        """Raises IoctxStateError when it is closed, and in a forked process."""
        if self.state != "open":
            raise IoctxStateError(f"The pool is {self.state}")
        if not self._home.is_here:
            raise IoctxStateError(
                f"process {self._home.pid} opened it, and this is a fork of it: connect anew here"
            )

    def close(self) -> None:
        """Return when the asynchronous calls that were begun are done. May be called again."""
        if self._home.is_here:
            self._stop_worker()
        self.state = "closed"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        type_: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        self.close()
        return False

    def dup(self) -> Ioctx:
        """Another one, with the same namespace."""
        self.require_ioctx_open()
        other = self._rados.open_ioctx2(self.get_pool_id())
        other.nspace, other.locator_key = self.nspace, self.locator_key
        return other

    def within(self, nspace: str) -> Ioctx:
        """This same one for a single call, in another namespace."""
        self.require_ioctx_open()
        view = copy.copy(self)
        view.nspace = nspace
        return view

    def list_objects(self) -> ObjectIterator:
        """The objects in its namespace; in all of them, if that is LIBRADOS_ALL_NSPACES."""
        self.require_ioctx_open()
        return ObjectIterator(self)

    # --- pool and namespace

    def get_pool_id(self) -> int:
        """Raises ObjectNotFound for a pool that was no more when this was asked first."""
        self.require_ioctx_open()
        if self._pool_id is None:
            self._pool_id = self._rados.pool_lookup(self._pool)
        if self._pool_id is None:
            raise make_ex(errno.ENOENT, "get pool id error")
        return self._pool_id

    def get_pool_name(self) -> str:
        """Raises ObjectNotFound for a pool that is no more."""
        self.require_ioctx_open()
        found = self._rados.pool_reverse_lookup(self.get_pool_id())
        if found is None:
            raise make_ex(errno.ENOENT, "get pool name error")
        return found

    def set_namespace(self, nspace: str) -> None:
        """The pool's own is ""."""
        self.require_ioctx_open()
        self.nspace = name_text(nspace, "nspace", opt=True)

    def get_namespace(self) -> str:
        self.require_ioctx_open()
        return self.nspace

    def set_locator_key(self, loc_key: str) -> None:
        """Kept, and of no meaning here."""
        self.require_ioctx_open()
        self.locator_key = name_text(loc_key, "loc_key")

    def get_locator_key(self) -> str:
        self.require_ioctx_open()
        return self.locator_key

    def alignment(self) -> int | None:
        """Appends need none."""
        self.require_ioctx_open()
        return None

    def set_osdmap_full_try(self) -> None:
        """Of no meaning here."""
        self.require_ioctx_open()

    def unset_osdmap_full_try(self) -> None:
        """Of no meaning here."""
        self.require_ioctx_open()

    def get_stats(self) -> dict[str, int]:
        """Counts of the pool. Reads and writes are not counted here."""
        from cowshed.compat.monitor import pool_counts

        here = self.scope()
        with asking(f"Ioctx.get_stats({self.name}): get_stats failed"):
            if self._rados.pool_reverse_lookup(self.get_pool_id()) is None:
                raise NotFound(f"no pool {here.pool!r}")
            counts = pool_counts(here.store, here.pool)
        return {
            "num_bytes": counts.stored,
            "num_kb": -(-counts.stored // 1024),
            "num_objects": counts.objects,
            "num_object_clones": 0,
            "num_object_copies": counts.objects,
            "num_objects_missing_on_primary": 0,
            "num_objects_unfound": 0,
            "num_objects_degraded": 0,
            "num_rd": 0,
            "num_rd_kb": 0,
            "num_wr": 0,
            "num_wr_kb": 0,
        }
