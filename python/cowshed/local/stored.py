"""The values behind the keys: what is stored for a pool, an image, a snapshot (keys.py has the keys)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Self

from cowshed.errors import StoreDamaged

SCHEME_VERSION = 1
"""Of keys and values together; a store with a higher one is not touched."""


class _Stored:
    """Compact JSON; a field that holds its default is left out."""

    __slots__ = ()

    @classmethod
    def decode(cls, key: bytes, value: bytes) -> Self:
        """Raises StoreDamaged for bytes that no cowshed wrote."""
        try:
            return cls._from(json.loads(value))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreDamaged(
                f"the record {key.decode(errors='replace')!r} is damaged: {error!r}",
                hint="run `cowshed check`",
            ) from None

    @classmethod
    def _from(cls, fields: dict[str, Any]) -> Self:
        return cls(**fields)


def _compact(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class StoredPool(_Stored):
    id: int
    created: float

    def encode(self) -> bytes:
        return _compact({"id": self.id, "created": self.created})


@dataclass(frozen=True, slots=True)
class Link:
    """From a clone to the snapshot that it was made of. The snapshot may be gone meanwhile."""

    image: str
    snapshot: int
    overlap: int


@dataclass(frozen=True, slots=True)
class StoredImage(_Stored):
    pool: str
    namespace: str
    name: str
    head: int
    """The kernel's version; the same one as long as the image lives."""
    order: int
    created: float
    snapshots: int = 0
    """How many it has."""
    revision: int = 0
    """Grows with every change of the image's or its snapshots' keys.

    Who requires this record therefore requires all of them, and need not require each.
    """
    parent: Link | None = None

    def encode(self) -> bytes:
        fields: dict[str, Any] = {"pool": self.pool}
        if self.namespace:
            fields["namespace"] = self.namespace
        fields |= {"name": self.name, "head": self.head, "order": self.order, "created": self.created}
        if self.snapshots:
            fields["snapshots"] = self.snapshots
        if self.revision:
            fields["revision"] = self.revision
        if self.parent:
            fields["parent"] = [self.parent.image, self.parent.snapshot, self.parent.overlap]
        return _compact(fields)

    @classmethod
    def _from(cls, fields: dict[str, Any]) -> Self:
        parent = fields.pop("parent", None)
        return cls(namespace=fields.pop("namespace", ""), parent=Link(*parent) if parent else None, **fields)

    def changed(self, **fields: Any) -> Self:
        """With these fields changed, and the next revision."""
        return replace(self, revision=self.revision + 1, **fields)


@dataclass(frozen=True, slots=True)
class StoredSnapshot(_Stored):
    name: str
    created: float
    protected: bool = False
    overlap: int = 0
    """The image's overlap with its parent when the snapshot was made."""

    def encode(self) -> bytes:
        fields: dict[str, Any] = {"name": self.name, "created": self.created}
        if self.protected:
            fields["protected"] = True
        if self.overlap:
            fields["overlap"] = self.overlap
        return _compact(fields)

    def changed(self, **fields: Any) -> Self:
        """With these fields changed."""
        return replace(self, **fields)


@dataclass(frozen=True, slots=True)
class StoredTimes(_Stored):
    modified: float

    def encode(self) -> bytes:
        return _compact({"modified": self.modified})
