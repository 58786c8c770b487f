"""The values behind the keys: what is stored for a pool, an image, a snapshot (keys.py has the keys)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Self

from cowshed.errors import StoreDamaged
from cowshed.store.records import FEATURES
from cowshed.store.spec import ImageSpec

SCHEME_VERSION = 4
"""Of keys and values together; a store with a higher one is not touched.

Version 1 lacked what came with namespaces, trash, groups and the rest, version 2 lacked objects, version 3
the striping of images. What they have means the same, so that a store of any only needs to be marked.
"""
EARLIER_SCHEMES = (b"1", b"2", b"3")


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
    format: int = 0
    """1 or 2: the clone holds the snapshot as RBD's clones of that format do; 0: it does not."""


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
    features: tuple[str, ...] = FEATURES
    limit: int | None = None
    """Of the number of snapshots."""
    group: str | None = None
    """The id of the group that it belongs to."""
    trashed: bool = False
    """It is in the trash: its names are those that it had."""
    clones: int = 0
    """How many clones of format 2 hold snapshots of it."""
    striping: tuple[int, int] | None = None
    """RBD's stripe unit, in bytes, and stripe count; None: its default."""

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
            link = self.parent
            held = [link.format] if link.format else []
            fields["parent"] = [link.image, link.snapshot, link.overlap, *held]
        if self.features != FEATURES:
            fields["features"] = list(self.features)
        if self.limit is not None:
            fields["limit"] = self.limit
        if self.group:
            fields["group"] = self.group
        if self.trashed:
            fields["trashed"] = True
        if self.clones:
            fields["clones"] = self.clones
        if self.striping:
            fields["striping"] = list(self.striping)
        return _compact(fields)

    @classmethod
    def _from(cls, fields: dict[str, Any]) -> Self:
        parent, striping = fields.pop("parent", None), fields.pop("striping", None)
        return cls(
            namespace=fields.pop("namespace", ""),
            parent=Link(*parent) if parent else None,
            features=tuple(fields.pop("features", FEATURES)),
            striping=tuple(striping) if striping else None,
            **fields,
        )

    @property
    def spec(self) -> ImageSpec:
        """What it is called; in the trash: what it was called."""
        return ImageSpec(self.pool, self.namespace, self.name)

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
    namespace: str = "user"
    """`group`: a part of a group's snapshot; `trash`: removed, but held by clones. Both have no `snapname`
    key.
    """
    of: str | None = None
    """In `group`: the ids of the group and of its snapshot, with a `/` between. In `trash`: the name that it
    had.
    """

    def encode(self) -> bytes:
        fields: dict[str, Any] = {"name": self.name, "created": self.created}
        if self.protected:
            fields["protected"] = True
        if self.overlap:
            fields["overlap"] = self.overlap
        if self.namespace != "user":
            fields["namespace"] = self.namespace
        if self.of is not None:
            fields["of"] = self.of
        return _compact(fields)

    def changed(self, **fields: Any) -> Self:
        """With these fields changed."""
        return replace(self, **fields)


@dataclass(frozen=True, slots=True)
class StoredTrash(_Stored):
    deleted: float
    until: float
    source: str = "USER"

    def encode(self) -> bytes:
        return _compact({"deleted": self.deleted, "until": self.until, "source": self.source})


@dataclass(frozen=True, slots=True)
class StoredLock(_Stored):
    exclusive: bool
    tag: str
    lockers: tuple[tuple[str, str, str], ...]
    """Client, cookie and address of each; one at least."""

    def encode(self) -> bytes:
        return _compact({"exclusive": self.exclusive, "tag": self.tag, "lockers": self.lockers})

    @classmethod
    def _from(cls, fields: dict[str, Any]) -> Self:
        lockers = tuple((str(a), str(b), str(c)) for a, b, c in fields.pop("lockers"))
        return cls(lockers=lockers, **fields)


@dataclass(frozen=True, slots=True)
class StoredGroup(_Stored):
    pool: str
    namespace: str
    name: str
    created: float
    revision: int = 0
    """Grows with every change of the group's keys, as an image's."""

    def encode(self) -> bytes:
        return _compact({name: getattr(self, name) for name in self.__slots__})

    def changed(self, **fields: Any) -> Self:
        """With these fields changed, and the next revision."""
        return replace(self, revision=self.revision + 1, **fields)


@dataclass(frozen=True, slots=True)
class StoredGroupSnapshot(_Stored):
    name: str
    created: float
    members: tuple[tuple[str, int], ...]
    """Image id and snapshot id of each."""

    def encode(self) -> bytes:
        return _compact({"name": self.name, "created": self.created, "members": self.members})

    @classmethod
    def _from(cls, fields: dict[str, Any]) -> Self:
        members = tuple((str(image), int(snapshot)) for image, snapshot in fields.pop("members"))
        return cls(members=members, **fields)

    def changed(self, **fields: Any) -> Self:
        """With these fields changed."""
        return replace(self, **fields)


@dataclass(frozen=True, slots=True)
class StoredMove(_Stored):
    source: tuple[str, str, str]
    """Pool, namespace and name that it had."""
    executed: bool = False

    def encode(self) -> bytes:
        return _compact({"source": self.source, "executed": self.executed})

    @classmethod
    def _from(cls, fields: dict[str, Any]) -> Self:
        pool, namespace, name = fields.pop("source")
        return cls(source=(str(pool), str(namespace), str(name)), **fields)


@dataclass(frozen=True, slots=True)
class StoredTimes(_Stored):
    modified: float

    def encode(self) -> bytes:
        return _compact({"modified": self.modified})


PIECE_BYTES = 64 << 10
"""An object's data lies in pieces of this length, but for the last."""


@dataclass(frozen=True, slots=True)
class StoredObject(_Stored):
    id: str
    """Of this object: another one of the same name has another."""
    size: int
    modified: float
    version: int
    """Grows with every change of the object's keys: who requires this record requires all of them."""
    attributes: int = 0
    """How many there are."""
    omap: int = 0
    """How many keys its ordered map has."""
    header: int = 0
    """Bytes in the header of its ordered map."""

    def encode(self) -> bytes:
        kept = {"id": self.id, "size": self.size, "modified": self.modified, "version": self.version}
        counts = {"attributes": self.attributes, "omap": self.omap, "header": self.header}
        return _compact(kept | {name: count for name, count in counts.items() if count})

    @property
    def pieces(self) -> int:
        """How many pieces of data there are."""
        return -(-self.size // PIECE_BYTES)

    def piece_bytes(self, number: int) -> int:
        """How long that piece is; 0 for one that is not there."""
        return max(0, min(PIECE_BYTES, self.size - number * PIECE_BYTES))

    def changed(self, **fields: Any) -> Self:
        """With these fields changed."""
        return replace(self, **fields)
