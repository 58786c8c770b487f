"""What engines answer with: plain frozen records. Sizes are bytes, times seconds since 1970 (UTC)."""

from __future__ import annotations

from dataclasses import dataclass

FEATURES = ("layering", "object-map", "fast-diff", "deep-flatten")
"""RBD's names for what every image here can do: clones, exact and cheap diffs, flatten with snapshots."""


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
    flags: tuple[str, ...] = ()

    @property
    def object_size(self) -> int:
        return 1 << self.order

    @property
    def objects(self) -> int:
        """How many objects RBD would split it into."""
        return -(-self.size >> self.order)

    @property
    def block_name_prefix(self) -> str:
        return f"rbd_data.{self.id}"


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A snapshot of one image. Ids ascend in the whole store, in the order of creation."""

    id: int
    name: str
    size: int
    protected: bool
    created: float


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """A clone, and the name of the snapshot it was cloned from."""

    pool: str
    namespace: str
    image: str
    id: str
    snapshot: str

    def __str__(self) -> str:
        return f"{self.pool}/{self.namespace}/{self.image}" if self.namespace else f"{self.pool}/{self.image}"


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
