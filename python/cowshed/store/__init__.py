"""The interface: `Store`, `Image`, specs, records, progress. Everything above the engines uses this."""

from cowshed.store.interface import Image, Store
from cowshed.store.progress import Progress
from cowshed.store.records import (
    FEATURES,
    ChildInfo,
    Extent,
    ImageStat,
    ParentInfo,
    PoolInfo,
    PoolStats,
    SnapshotInfo,
    StoreUsage,
    Usage,
)
from cowshed.store.spec import (
    DEFAULT_POOL,
    ImageSpec,
    SnapSpec,
    as_image,
    as_snapshot,
    as_spec,
    check_name,
    parse_spec,
)

__all__ = [
    "DEFAULT_POOL",
    "FEATURES",
    "ChildInfo",
    "Extent",
    "Image",
    "ImageSpec",
    "ImageStat",
    "ParentInfo",
    "PoolInfo",
    "PoolStats",
    "Progress",
    "SnapSpec",
    "SnapshotInfo",
    "Store",
    "StoreUsage",
    "Usage",
    "as_image",
    "as_snapshot",
    "as_spec",
    "check_name",
    "parse_spec",
]
