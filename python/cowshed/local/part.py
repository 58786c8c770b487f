"""What the parts of a local store share: its catalogue."""

from __future__ import annotations

from cowshed.errors import Closed
from cowshed.local.catalog import Catalog


class Part:
    """A part of `LocalStore`, which sets these up."""

    _target: str
    _closed: bool
    _opened_catalog: Catalog

    @property
    def _catalog(self) -> Catalog:
        if self._closed:
            raise Closed(f"the store {self._target!r} was closed")
        return self._opened_catalog
