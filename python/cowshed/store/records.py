"""What engines answer with: plain frozen records. Sizes are bytes, times seconds since 1970 (UTC)."""

from __future__ import annotations

from dataclasses import dataclass

from cowshed.store.striping import objects

FEATURES = ("layering", "exclusive-lock", "object-map", "fast-diff", "deep-flatten")
"""What an image has by default, in RBD's names and order; RBD's own default, too."""


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """A pool. `id` is a number of its own, never that of another pool that lives."""

    name: str
    id: int
    created: float


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Counts and sizes in one pool, as `rbd pool stats` shows them."""

    name: str
    images: int
    provisioned: int
    """Sum of the images' sizes."""
    snapshots: int
    trash_images: int = 0
    trash_provisioned: int = 0
    trash_snapshots: int = 0
    referenced: int = 0
    """What the images have mapped, those in the trash too; what two of them share counts twice."""
    available: int = 0
    """What may still be written, to this pool or any other."""


@dataclass(frozen=True, slots=True)
class ParentInfo:
    """The snapshot that an image was cloned from, by its names of today."""

    pool: str
    namespace: str
    image: str
    image_id: str
    snapshot: str
    snapshot_id: int
    overlap: int
    """How much of the image, from its start, had the parent behind it all the time since the clone."""

    def __str__(self) -> str:
        head = f"{self.pool}/{self.namespace}" if self.namespace else self.pool
        return f"{head}/{self.image}@{self.snapshot}"


@dataclass(frozen=True, slots=True)
class ImageStat:
    """An image, or an image as of one of its snapshots, as `rbd info` shows it."""

    pool: str
    namespace: str
    name: str
    id: str
    """Short hex; never changes while the image lives, renamed or not."""
    size: int
    order: int
    """log2 of RBD's object size: kept and reported, of no meaning to the store."""
    snapshot_count: int
    """Those in the user's namespace and in others."""
    created: float
    accessed: float
    """As far as is known: reads need leave no mark."""
    modified: float
    """When it was last closed after writes."""
    parent: ParentInfo | None = None
    snapshot: str | None = None
    """The snapshot that is described; None: the image itself."""
    protected: bool | None = None
    """Whether the described snapshot is protected; None for an image."""
    format: int = 2
    features: tuple[str, ...] = FEATURES
    op_features: tuple[str, ...] = ()
    """What RBD would note: `clone-parent`, `clone-child`, `snap-trash`, `group`."""
    flags: tuple[str, ...] = ()
    """RBD's `object map invalid` and the like; never any."""
    group: str | None = None
    """The group that it belongs to, as `pool/[namespace/]group`."""
    striping: tuple[int, int] | None = None
    """RBD's stripe unit, in bytes, and stripe count, kept as the order is; None: its default."""

    @property
    def object_size(self) -> int:
        return 1 << self.order

    @property
    def objects(self) -> int:
        """How many objects RBD would split it into."""
        return objects(self.size, self.order, self.striping)

    @property
    def stripe_unit(self) -> int:
        """In bytes; without striping, the object size."""
        return self.striping[0] if self.striping else self.object_size

    @property
    def stripe_count(self) -> int:
        """How many objects a stripe goes over."""
        return self.striping[1] if self.striping else 1

    @property
    def block_name_prefix(self) -> str:
        return f"rbd_data.{self.id}"


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot of one image. Ids ascend in the whole store, in the order of creation."""

    id: int
    name: str
    """In the namespaces `group` and `trash`: a name of no meaning, as RBD gives them."""
    size: int
    protected: bool
    created: float
    namespace: str = "user"
    """`user`; `group`: a part of a group's snapshot; `trash`: removed, but kept for clones of RBD's format 2.
    """
    original_name: str | None = None
    """In the namespace `trash`: what it was called."""
    group: str | None = None
    """In the namespace `group`: the group's snapshot, as `pool/[namespace/]group@snapshot`."""


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """A clone, and the name of the snapshot it was cloned from."""

    pool: str
    namespace: str
    image: str
    id: str
    snapshot: str
    trash: bool = False
    """Whether the clone is in the trash."""
    clone_format: int | None = None
    """1 or 2 for a clone that holds its parent as RBD's do."""

    def __str__(self) -> str:
        return f"{self.pool}/{self.namespace}/{self.image}" if self.namespace else f"{self.pool}/{self.image}"


@dataclass(frozen=True, slots=True)
class TrashInfo:
    """An image in the trash."""

    id: str
    name: str
    """What it was called."""
    source: str
    """Who moved it there: `USER`, or `USER_PARENT` for a parent that only its clones keep."""
    deleted: float
    deferred_until: float
    """Until then it is only removed by force."""


@dataclass(frozen=True, slots=True)
class ConfigOption:
    """A configuration key of RBD's, with the value that holds."""

    name: str
    value: str
    source: str
    """Where it was set: `config` (nowhere: the default), `pool` or `image`."""


@dataclass(frozen=True, slots=True)
class Locker:
    """Who holds a lock."""

    client: str
    cookie: str
    address: str
    """`host:0/pid`, for people."""


@dataclass(frozen=True, slots=True)
class LockInfo:
    """An advisory lock and its holders: one, or with a `tag` several."""

    exclusive: bool
    tag: str
    lockers: tuple[Locker, ...]


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who has an image open for writing."""

    client: str
    cookie: str
    address: str


@dataclass(frozen=True, slots=True)
class GroupSnapshotInfo:
    """A snapshot of all members of a group."""

    id: str
    name: str
    created: float
    members: tuple[tuple[str, int], ...]
    """Image id and snapshot id of each."""


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A group of images."""

    id: str
    name: str
    images: tuple[str, ...]
    """Its members' specs as `pool/[namespace/]image`, ascending."""
    snapshots: tuple[GroupSnapshotInfo, ...]
    """In the order of creation."""


@dataclass(frozen=True, slots=True)
class MigrationInfo:
    """A move of an image that is under way."""

    source: str
    """The old spec, as `pool/[namespace/]image`."""
    target: str
    image_id: str
    state: str
    """`prepared` or `executed`."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A piece of a disk; `exists` is False where it reads as zeros and takes no space."""

    offset: int
    length: int
    exists: bool

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Usage:
    """The space of an image's head or of one snapshot, exact to the 4 KiB block."""

    provisioned: int
    """Its size."""
    referenced: int
    """What it has mapped, shared or not."""
    exclusive: int
    """What would come back if it alone went."""


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What a store is, and the file system that holds it."""

    id: str
    """A UUID of its own, that it keeps for life."""
    total: int
    """Of the file system."""
    available: int
    """Of that, what may still be written."""


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """The space account of a whole store."""

    pools: int
    images: int
    snapshots: int
    provisioned: int
    """Sum of the images' sizes."""
    used: int
    """Data that some version references; `hidden` is part of it."""
    hidden: int
    """Data that only removed snapshots with several clones hold; `reclaim` returns it."""
    free: int
    """Room inside the blocks file that the next writes may take."""
    pending: int
    """Freed data that waits for a commit."""
    metadata_bytes: int
    """Live metadata: keys and values of the catalogue."""
    catalog_bytes: int
    """Length of the catalogue file."""
    blocks_file_bytes: int
    """What the blocks file takes on its file system."""
    versions: int
    hidden_versions: int
    reclaim_pending: bool
    """Whether removed things still have space to give back."""


@dataclass(frozen=True, slots=True)
class ObjectStat:
    """A small object, as RADOS knows them."""

    size: int
    modified: float
    version: int
    """Grows with every change of the object, from 1 on; another object of the same name later begins anew."""


@dataclass(frozen=True, slots=True)
class OmapPage:
    """A piece of an object's ordered map."""

    values: dict[str, bytes]
    """By key, ascending byte by byte."""
    more: bool
    """Whether there are keys behind the last of these."""
