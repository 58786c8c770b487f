"""The module `rados`: librados' Python API, on a cowshed store. Programs have it from `compat/modules`."""

from cowshed.compat.rados.cluster import Rados, Version
from cowshed.compat.rados.completion import Completion
from cowshed.compat.rados.errors import (
    MAX_ERRNO,
    ConnectionShutdown,
    Error,
    ExtendMismatch,
    InProgress,
    InterruptedOrTimeoutError,
    InvalidArgumentError,
    IoctxStateError,
    IOError,
    IsConnected,
    LogicError,
    NoData,
    NoSpace,
    NotConnected,
    ObjectBusy,
    ObjectExists,
    ObjectNotFound,
    ObjectStateError,
    OSError,
    PermissionDeniedError,
    PermissionError,
    RadosStateError,
    TimedOut,
    make_ex,
)
from cowshed.compat.rados.ioctx import Ioctx
from cowshed.compat.rados.object import Object, ObjectIterator
from cowshed.compat.rados.objects import LIBRADOS_ALL_NSPACES
from cowshed.compat.rados.ops import (
    LIBRADOS_CMPXATTR_OP_EQ,
    LIBRADOS_CMPXATTR_OP_GT,
    LIBRADOS_CMPXATTR_OP_GTE,
    LIBRADOS_CMPXATTR_OP_LT,
    LIBRADOS_CMPXATTR_OP_LTE,
    LIBRADOS_CMPXATTR_OP_NE,
    LIBRADOS_CREATE_EXCLUSIVE,
    LIBRADOS_CREATE_IDEMPOTENT,
    LIBRADOS_OPERATION_NOFLAG,
    OmapIterator,
    OpCtx,
    ReadOp,
    ReadOpCtx,
    WriteOp,
    WriteOpCtx,
    XattrIterator,
)
from cowshed.compat.rados.unsupported import Snap, SnapIterator, Watch

ADMIN_AUID = 0
ANONYMOUS_AUID = 0xFFFFFFFFFFFFFFFF
LIBRADOS_OPERATION_BALANCE_READS = 1
LIBRADOS_OPERATION_LOCALIZE_READS = 2
LIBRADOS_OPERATION_ORDER_READS_WRITES = 4
LIBRADOS_OPERATION_IGNORE_CACHE = 8
LIBRADOS_OPERATION_SKIPRWLOCKS = 16
LIBRADOS_OPERATION_IGNORE_OVERLAY = 32
LIBRADOS_OP_FLAG_EXCL = 1
LIBRADOS_OP_FLAG_FAILOK = 2
LIBRADOS_OP_FLAG_FADVISE_RANDOM = 4
LIBRADOS_OP_FLAG_FADVISE_SEQUENTIAL = 8
LIBRADOS_OP_FLAG_FADVISE_WILLNEED = 16
LIBRADOS_OP_FLAG_FADVISE_DONTNEED = 32
LIBRADOS_OP_FLAG_FADVISE_NOCACHE = 64
LIBRADOS_SNAP_HEAD = 0xFFFFFFFFFFFFFFFE
MONITOR_LEVELS = ["debug", "info", "warn", "warning", "err", "error", "sec"]

__all__ = [
    "ADMIN_AUID",
    "ANONYMOUS_AUID",
    "LIBRADOS_ALL_NSPACES",
    "LIBRADOS_CMPXATTR_OP_EQ",
    "LIBRADOS_CMPXATTR_OP_GT",
    "LIBRADOS_CMPXATTR_OP_GTE",
    "LIBRADOS_CMPXATTR_OP_LT",
    "LIBRADOS_CMPXATTR_OP_LTE",
    "LIBRADOS_CMPXATTR_OP_NE",
    "LIBRADOS_CREATE_EXCLUSIVE",
    "LIBRADOS_CREATE_IDEMPOTENT",
    "LIBRADOS_OPERATION_BALANCE_READS",
    "LIBRADOS_OPERATION_IGNORE_CACHE",
    "LIBRADOS_OPERATION_IGNORE_OVERLAY",
    "LIBRADOS_OPERATION_LOCALIZE_READS",
    "LIBRADOS_OPERATION_NOFLAG",
    "LIBRADOS_OPERATION_ORDER_READS_WRITES",
    "LIBRADOS_OPERATION_SKIPRWLOCKS",
    "LIBRADOS_OP_FLAG_EXCL",
    "LIBRADOS_OP_FLAG_FADVISE_DONTNEED",
    "LIBRADOS_OP_FLAG_FADVISE_NOCACHE",
    "LIBRADOS_OP_FLAG_FADVISE_RANDOM",
    "LIBRADOS_OP_FLAG_FADVISE_SEQUENTIAL",
    "LIBRADOS_OP_FLAG_FADVISE_WILLNEED",
    "LIBRADOS_OP_FLAG_FAILOK",
    "LIBRADOS_SNAP_HEAD",
    "MAX_ERRNO",
    "MONITOR_LEVELS",
    "Completion",
    "ConnectionShutdown",
    "Error",
    "ExtendMismatch",
    "IOError",
    "InProgress",
    "InterruptedOrTimeoutError",
    "InvalidArgumentError",
    "Ioctx",
    "IoctxStateError",
    "IsConnected",
    "LogicError",
    "NoData",
    "NoSpace",
    "NotConnected",
    "OSError",
    "Object",
    "ObjectBusy",
    "ObjectExists",
    "ObjectIterator",
    "ObjectNotFound",
    "ObjectStateError",
    "OmapIterator",
    "OpCtx",
    "PermissionDeniedError",
    "PermissionError",
    "Rados",
    "RadosStateError",
    "ReadOp",
    "ReadOpCtx",
    "Snap",
    "SnapIterator",
    "TimedOut",
    "Version",
    "Watch",
    "WriteOp",
    "WriteOpCtx",
    "XattrIterator",
    "make_ex",
]
