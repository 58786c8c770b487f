"""The asynchronous calls of an Ioctx: what those without `aio_` do, in the Ioctx's own thread."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from cowshed.compat.rados.completion import Completion, Worker
from cowshed.compat.rados.errors import make_ex, name_bytes, name_text, whole
from cowshed.compat.rados.objects import ObjectCalls
from cowshed.compat.rados.ops import LIBRADOS_OPERATION_NOFLAG, ReadOp, WriteOp

if TYPE_CHECKING:
    from cowshed.compat.rados.ioctx import Ioctx

Callback = Callable[[Completion], object]


class AsynchronousCalls(ObjectCalls):
    """The part of an Ioctx that does not wait."""

    def __init__(self) -> None:
        self._worker: Worker | None = None
        self._worker_lock = threading.Lock()

    def aio_stat(
        self,
        object_name: str,
        oncomplete: Callable[[Completion, int | None, time.struct_time | None], object],
    ) -> Completion:
        """`oncomplete(completion, size, time)`; None for both if it failed."""
        found: list[tuple[int, time.struct_time]] = []

        def call() -> int:
            found.append(self.stat(object_name))
            return 0

        name_text(object_name, "object_name")
        return self._start(
            call, lambda completion: oncomplete(completion, *(found[0] if found else (None, None)))
        )

    def aio_read(
        self,
        object_name: str,
        length: int,
        offset: int,
        oncomplete: Callable[[Completion, bytes | None], object] | None = None,
    ) -> Completion:
        """`oncomplete(completion, data)`; None if it failed."""
        found: list[bytes] = []

        def call() -> int:
            found.append(self.read(object_name, length, offset))
            return len(found[0])

        name_text(object_name, "object_name")
        whole(length, "size_t")
        whole(offset)

        def tell(completion: Completion) -> None:
            if oncomplete:
                oncomplete(completion, found[0] if found else None)

        return self._start(call, tell)

    def aio_write(
        self,
        object_name: str,
        to_write: bytes,
        offset: int = 0,
        oncomplete: Callback | None = None,
        onsafe: Callback | None = None,
    ) -> Completion:
        """As `write`."""
        self._check(object_name, to_write)
        whole(offset)
        return self._start(lambda: self.write(object_name, to_write, offset), oncomplete, onsafe)

    def aio_write_full(
        self,
        object_name: str,
        to_write: bytes,
        oncomplete: Callback | None = None,
        onsafe: Callback | None = None,
    ) -> Completion:
        """As `write_full`."""
        self._check(object_name, to_write)
        return self._start(lambda: self.write_full(object_name, to_write), oncomplete, onsafe)

    def aio_append(
        self,
        object_name: str,
        to_append: bytes,
        oncomplete: Callback | None = None,
        onsafe: Callback | None = None,
    ) -> Completion:
        """As `append`."""
        name_text(object_name, "object_name")
        name_bytes(to_append, "to_append")
        return self._start(lambda: self.append(object_name, to_append), oncomplete, onsafe)

    def aio_writesame(
        self,
        object_name: str,
        to_write: bytes,
        write_len: int,
        offset: int = 0,
        oncomplete: Callback | None = None,
    ) -> Completion:
        """As `writesame`."""

        def call() -> int:
            self.writesame(object_name, to_write, write_len, offset)
            return 0

        self._check(object_name, to_write)
        if not to_write or whole(write_len) % len(to_write):
            raise make_ex(errno.EINVAL, f"error writing object {object_name}")
        return self._start(call, oncomplete)

    def aio_cmpext(
        self, object_name: str, cmp_buf: bytes, offset: int = 0, oncomplete: Callback | None = None
    ) -> Completion:
        """As `cmpext`."""
        name_text(object_name, "object_name")
        name_bytes(cmp_buf, "cmp_buf")
        return self._start(lambda: self.cmpext(object_name, cmp_buf, offset), oncomplete)

    def aio_remove(
        self, object_name: str, oncomplete: Callback | None = None, onsafe: Callback | None = None
    ) -> Completion:
        """As `remove_object`."""
        name_text(object_name, "object_name")
        return self._start(lambda: self.remove_object(object_name) - 1, oncomplete, onsafe)

    def aio_setxattr(
        self,
        object_name: str,
        xattr_name: str,
        xattr_value: bytes,
        oncomplete: Callback | None = None,
    ) -> Completion:
        """As `set_xattr`."""
        name_text(object_name, "object_name")
        name_text(xattr_name, "xattr_name")
        name_bytes(xattr_value, "xattr_value")
        return self._start(lambda: self.set_xattr(object_name, xattr_name, xattr_value) - 1, oncomplete)

    def aio_rmxattr(
        self, object_name: str, xattr_name: str, oncomplete: Callback | None = None
    ) -> Completion:
        """As `rm_xattr`."""
        name_text(object_name, "object_name")
        name_text(xattr_name, "xattr_name")
        return self._start(lambda: self.rm_xattr(object_name, xattr_name) - 1, oncomplete)

    def operate_aio_write_op(
        self,
        write_op: WriteOp,
        oid: str,
        oncomplete: Callback | None = None,
        onsafe: Callback | None = None,
        mtime: int = 0,
        flags: int = LIBRADOS_OPERATION_NOFLAG,
    ) -> Completion:
        """As `operate_write_op`, with the steps that the WriteOp has now."""
        now = WriteOp()
        now.steps, now.refusals = list(write_op.steps), list(write_op.refusals)
        write_op.release()

        def call() -> int:
            self.operate_write_op(now, oid, mtime, flags)
            return 0

        name_text(oid, "oid")
        return self._start(call, oncomplete, onsafe)

    def operate_aio_read_op(
        self,
        read_op: ReadOp,
        oid: str,
        oncomplete: Callback | None = None,
        onsafe: Callback | None = None,
        flag: int = LIBRADOS_OPERATION_NOFLAG,
    ) -> Completion:
        """As `operate_read_op`."""

        def call() -> int:
            self.operate_read_op(read_op, oid, flag)
            return 0

        name_text(oid, "oid")
        return self._start(call, oncomplete, onsafe)

    def aio_flush(self) -> None:
        """Return when all asynchronous calls are done."""
        self.scope()
        with self._worker_lock:
            worker = self._worker
        if worker is not None:
            worker.flush()

    def _check(self, object_name: str, to_write: bytes) -> None:
        name_text(object_name, "object_name")
        name_bytes(to_write, "to_write")

    def _start(
        self, call: Callable[[], int], oncomplete: Callback | None = None, onsafe: Callback | None = None
    ) -> Completion:
        self.scope()
        with self._worker_lock:
            worker = self._worker = self._worker or Worker()
        return worker.submit(Completion(cast("Ioctx", self), oncomplete, onsafe), call)

    def _stop_worker(self) -> None:
        """What was begun comes to its end, while the Ioctx is still open."""
        with self._worker_lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.flush()
            worker.stop()
