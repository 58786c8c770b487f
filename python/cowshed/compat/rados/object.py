"""`Object`: one object that is read and written like a file; and the listing of objects."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cowshed.compat.rados.errors import ObjectStateError
from cowshed.compat.rados.ops import XattrIterator

if TYPE_CHECKING:
    from cowshed.compat.rados.ioctx import Ioctx


class Object:
    """An object by its name, whether it is there or not. Reading and writing go on where the last ended."""

    def __init__(
        self, ioctx: Ioctx, key: str, locator_key: str | None = None, nspace: str | None = None
    ) -> None:
        self.key = key
        self.ioctx = ioctx
        self.offset = 0
        self.state = "exists"
        self.locator_key = locator_key or ""
        self.nspace = nspace or ""

    def __str__(self) -> str:
        return (
            f"rados.Object(ioctx={self.ioctx},key={self.key},"
            f"nspace={self.nspace or '--default--'},locator={self.locator_key or None})"
        )

    def require_object_exists(self) -> None:
        """Raises ObjectStateError after `remove`."""
        if self.state != "exists":
            raise ObjectStateError(f"The object is {self.state}")

    def read(self, length: int = 1024 * 1024) -> bytes:
        """The next bytes; none at the end."""
        self.require_object_exists()
        data = self._room().read(self.key, length, self.offset)
        self.offset += len(data)
        return data

    def write(self, string_to_write: bytes) -> int:
        """Write bytes here, and go on behind them."""
        self.require_object_exists()
        answered = self._room().write(self.key, string_to_write, self.offset)
        self.offset += len(string_to_write)
        return answered

    def remove(self) -> None:
        """Remove the object. This one is of no use afterwards."""
        self.require_object_exists()
        self._room().remove_object(self.key)
        self.state = "removed"

    def stat(self) -> tuple[int, time.struct_time]:
        """Size, and time of the last change (local time)."""
        self.require_object_exists()
        return self._room().stat(self.key)

    def seek(self, position: int) -> None:
        """Go on there."""
        self.require_object_exists()
        self.offset = position

    def set_xattr(self, xattr_name: str, xattr_value: bytes) -> bool:
        self.require_object_exists()
        return self._room().set_xattr(self.key, xattr_name, xattr_value)

    def get_xattrs(self) -> XattrIterator:
        self.require_object_exists()
        return self._room().get_xattrs(self.key)

    def get_xattr(self, xattr_name: str) -> bytes:
        self.require_object_exists()
        return self._room().get_xattr(self.key, xattr_name)

    def rm_xattr(self, xattr_name: str) -> bool:
        self.require_object_exists()
        return self._room().rm_xattr(self.key, xattr_name)

    def _room(self) -> Ioctx:
        """The Ioctx in the object's own namespace; the caller's keeps the one that it has."""
        return self.ioctx.within(self.nspace)


class ObjectIterator(Iterator[Object]):
    """The objects in an Ioctx's namespace, or in all of them."""

    def __init__(self, ioctx: Ioctx) -> None:
        self.ioctx = ioctx
        self._names = ioctx.object_names()

    def __next__(self) -> Object:
        name, namespace = next(self._names)
        return Object(self.ioctx, name, nspace=namespace)
