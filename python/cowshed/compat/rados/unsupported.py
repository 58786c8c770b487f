"""What only a cluster has: calls that answer EOPNOTSUPP here, and none of what they would list."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cowshed.compat.rados.errors import Error, asking, make_ex, name_text
from cowshed.compat.scope import Scoped


class Snap:
    """A snapshot of a pool: there is none here."""

    def __init__(self, ioctx: Any, name: str, snap_id: int) -> None:
        self.ioctx = ioctx
        self.name = name
        self.snap_id = snap_id

    def __str__(self) -> str:
        return f"rados.Snap(ioctx={self.ioctx},name={self.name},snap_id={self.snap_id})"

    def get_timestamp(self) -> float:
        raise _refusal("rados_ioctx_snap_get_stamp error")


class SnapIterator(Iterator[Snap]):
    """A pool's snapshots: none."""

    def __init__(self, ioctx: Any) -> None:
        self.ioctx = ioctx

    def __next__(self) -> Snap:
        raise StopIteration


class Watch:
    """A watch of an object. Raises OSError when it is made."""

    def __init__(
        self,
        ioctx: Any,
        oid: str,
        callback: Callable[[int, str, int, bytes], None],
        error_callback: Callable[[int], None] | None = None,
        timeout: int | None = None,
    ) -> None:
        raise _refusal("watch error")


class Unsupported(Scoped):
    """The part of an Ioctx that needs a cluster."""

    def list_snaps(self) -> SnapIterator:
        self.scope()
        return SnapIterator(self)

    def create_snap(self, snap_name: str) -> None:
        """Raises InvalidArgumentError, as for every pool that holds images."""
        self.scope()
        raise make_ex(errno.EINVAL, f"Failed to create snap {name_text(snap_name, 'snap_name')}")

    def remove_snap(self, snap_name: str) -> None:
        """Raises ObjectNotFound: there are none."""
        self.scope()
        raise make_ex(errno.ENOENT, f"Failed to remove snap {name_text(snap_name, 'snap_name')}")

    def lookup_snap(self, snap_name: str) -> Snap:
        """Raises ObjectNotFound: there are none."""
        self.scope()
        raise make_ex(errno.ENOENT, f"Failed to lookup snap {name_text(snap_name, 'snap_name')}")

    def snap_rollback(self, oid: str, snap_name: str) -> None:
        """Raises ObjectNotFound: there are none."""
        self.scope()
        name_text(snap_name, "snap_name")
        raise make_ex(errno.ENOENT, f"Failed to rollback {name_text(oid, 'oid')}")

    def create_self_managed_snap(self) -> int:
        raise self._refusal("Failed to create self-managed snapshot")

    def remove_self_managed_snap(self, snap_id: int) -> None:
        self._refuse("Failed to remove self-managed snapshot")

    def set_self_managed_snap_write(self, snaps: Sequence[int | str]) -> None:
        self._refuse("Failed to update snapshot write context")

    def rollback_self_managed_snap(self, oid: str, snap_id: int) -> None:
        self._refuse(f"Failed to rollback {name_text(oid, 'oid')}")

    def set_read(self, snap_id: int) -> None:
        """Of no meaning here: there is only what is now."""
        self.scope()

    def lock_exclusive(
        self,
        key: str,
        name: str,
        cookie: str,
        desc: str = "",
        duration: int | None = None,
        flags: int = 0,
    ) -> None:
        self._refuse(f"failed to set lock {name_text(name, 'name')} on {name_text(key, 'key')}")

    def lock_shared(
        self,
        key: str,
        name: str,
        cookie: str,
        tag: str,
        desc: str = "",
        duration: int | None = None,
        flags: int = 0,
    ) -> None:
        self._refuse(f"failed to set lock {name_text(name, 'name')} on {name_text(key, 'key')}")

    def unlock(self, key: str, name: str, cookie: str) -> None:
        self._refuse(f"failed to unset lock {name_text(name, 'name')} on {name_text(key, 'key')}")

    def execute(self, key: str, cls: str, method: str, data: bytes, length: int = 8192) -> tuple[int, bytes]:
        """Object classes run in a cluster's OSDs. Raises ObjectNotFound, OSError (EOPNOTSUPP)."""
        self._look(key, f"there is no object {name_text(key, 'key')!r}")
        raise self._refusal(f"there is no object class {name_text(cls, 'cls')!r} here")

    def watch(
        self,
        obj: str,
        callback: Callable[[int, str, int, bytes], None],
        error_callback: Callable[[int], None] | None = None,
        timeout: int | None = None,
    ) -> Watch:
        """Raises ObjectNotFound, OSError (EOPNOTSUPP)."""
        self._look(name_text(obj, "obj"), "watch error")
        raise self._refusal("watch error")

    def notify(self, obj: str, msg: str = "", timeout_ms: int = 5000) -> bool:
        """No one watches; so all who watch were told. Raises ObjectNotFound."""
        self._look(name_text(obj, "obj"), f"Failed to notify {obj!r}")
        return True

    def _look(self, oid: str, what: str) -> None:
        """Raises ObjectNotFound for an object that is not there."""
        here = self.scope()
        with asking(what):
            here.store.stat_object(here.pool, oid, namespace=here.namespace)

    def _refuse(self, what: str) -> None:
        raise self._refusal(what)

    def _refusal(self, what: str) -> Error:
        self.scope()
        return _refusal(what)


def _refusal(what: str) -> Error:
    return make_ex(errno.EOPNOTSUPP, what)
