"""What an Ioctx does with objects: content, attributes, omap, listing."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Sequence
from typing import Any

from cowshed.compat.rados.errors import (
    MAX_ERRNO,
    asking,
    make_ex,
    name_bytes,
    name_text,
    whole,
)
from cowshed.compat.rados.ops import (
    LIBRADOS_OPERATION_NOFLAG,
    OmapIterator,
    ReadOp,
    Refusal,
    WriteOp,
    XattrIterator,
    pairs,
    repeated,
)
from cowshed.compat.scope import Scope, Scoped
from cowshed.errors import Mismatch
from cowshed.store import ObjectStep, steps

LIBRADOS_ALL_NSPACES = "\x01"
"""As an Ioctx's namespace: objects of all of them are listed."""
_PAGE = 1000
_COMPARISONS = frozenset({"compare", "compare-omap", "assert-version"})


class ObjectCalls(Scoped):
    """The part of an Ioctx that reads and writes objects. Each call is atomic, and durable at its return."""

    name: str
    _last_version = 0

    # --- content

    def stat(self, key: str) -> tuple[int, time.struct_time]:
        """Size, and time of the last change (local time)."""
        here = self.scope()
        with asking(f"Failed to stat '{name_text(key, 'key')}'"):
            found = here.store.stat_object(here.pool, key, namespace=here.namespace)
        self._last_version = found.version
        return found.size, time.localtime(int(found.modified))

    def read(self, key: str, length: int = 8192, offset: int = 0) -> bytes:
        """The bytes there: fewer where the object ends."""
        here = self.scope()
        name_text(key, "key")
        what = f"Ioctx.read({self.name}): failed to read {key}"
        with asking(what):
            data = here.store.read_object(
                here.pool,
                key,
                namespace=here.namespace,
                offset=whole(offset),
                length=whole(length, "size_t") or None,
            )
        if data and not length:  # to RADOS it means all, and that has no room in 0 bytes
            raise make_ex(errno.ERANGE, what)
        return data

    def write(self, key: str, data: bytes, offset: int = 0) -> int:
        """Write bytes there; what lies between the end and `offset` becomes zeros."""
        name_text(key, "key")
        return self._write("write", key, steps.write(whole(offset), name_bytes(data, "data")))

    def write_full(self, key: str, data: bytes) -> int:
        """Have this content and no other."""
        name_text(key, "key")
        return self._write("write_full", key, steps.write_full(name_bytes(data, "data")))

    def append(self, key: str, data: bytes) -> int:
        """Write at the end."""
        name_text(key, "key")
        return self._write("append", key, steps.append(name_bytes(data, "data")))

    def writesame(self, key: str, data: bytes, write_len: int, offset: int = 0) -> None:
        """Write these bytes again and again, to `write_len` bytes, which must be a multiple."""
        what = f"Ioctx.writesame({self.name}): failed to write {name_text(key, 'key')}"
        if not data or whole(write_len) % len(data):
            raise make_ex(errno.EINVAL, what)
        self._change(what, key, steps.write(whole(offset), repeated(name_bytes(data, "data"), write_len)))

    def cmpext(self, key: str, cmp_buf: bytes, offset: int = 0) -> int:
        """0 if these bytes are there; else `-MAX_ERRNO` less how far from `offset` the first other one is."""
        here = self.scope()
        name_bytes(cmp_buf, "cmp_buf")
        with asking(f"Ioctx.cmpext({self.name}): failed to compare {name_text(key, 'key')}"):
            found = here.store.read_object(
                here.pool, key, namespace=here.namespace, offset=whole(offset), length=len(cmp_buf)
            )
        if (found := found.ljust(len(cmp_buf), b"\0")) == cmp_buf:
            return 0
        return -MAX_ERRNO - next(at for at, byte in enumerate(cmp_buf) if found[at] != byte)

    def trunc(self, key: str, size: int) -> int:
        """Cut it, or have it grow by zeros."""
        what = f"Ioctx.trunc({self.name}): failed to truncate {name_text(key, 'key')}"
        self._change(what, key, steps.truncate(whole(size)))
        return 0

    def remove_object(self, key: str) -> bool:
        """Raises ObjectNotFound."""
        self._change(f"Failed to remove '{name_text(key, 'key')}'", key, steps.remove())
        return True

    def get_last_version(self) -> int:
        """The version of the object that this Ioctx saw or changed last."""
        self.scope()
        return self._last_version

    def _write(self, call: str, key: str, step: ObjectStep) -> int:
        self._change(f"Ioctx.{call}({self.name}): failed to write {key}", key, step)
        return 0

    def version_of(self, key: str) -> int:
        """Of the object now."""
        here = self.scope()
        with asking(f"Failed to stat '{key}'"):
            return here.store.stat_object(here.pool, key, namespace=here.namespace).version

    def _why(self, key: str, failed: Mismatch, refusals: Sequence[Refusal]) -> int:
        """The errno for a comparison that failed. Where it was not of data, the object is looked at again:
        another change may have come between, and then none fails now.
        """
        if failed.offset is not None:
            return MAX_ERRNO + failed.offset
        return next(filter(None, (refusal(self, key) for refusal in refusals)), errno.ECANCELED)

    def _change(self, what: str, key: str, *change: ObjectStep, refusals: Sequence[Refusal] = ()) -> None:
        here = self.scope()
        try:
            with asking(what):
                found = here.store.change_object(here.pool, key, change, namespace=here.namespace)
        except Exception as error:
            if isinstance(error.__cause__, Mismatch):
                raise make_ex(self._why(key, error.__cause__, refusals), what) from error.__cause__
            raise
        if found:
            self._last_version = found.version

    # --- attributes

    def get_xattrs(self, oid: str) -> XattrIterator:
        """All attributes."""
        here = self.scope()
        with asking(f"Failed to get rados xattrs for object {name_text(oid, 'oid')!r}"):
            found = here.store.object_attributes(here.pool, oid, namespace=here.namespace)
        return XattrIterator(self, oid, found)

    def get_xattr(self, key: str, xattr_name: str) -> bytes:
        """Raises NoData for one that is not there."""
        here = self.scope()
        name_text(key, "key")
        what = f"Failed to get xattr {name_text(xattr_name, 'xattr_name')!r}"
        with asking(what):
            found = here.store.object_attributes(here.pool, key, namespace=here.namespace)
        if xattr_name not in found:
            raise make_ex(errno.ENODATA, what)
        return found[xattr_name]

    def set_xattr(self, key: str, xattr_name: str, xattr_value: bytes) -> bool:
        """Makes the object if it is not there."""
        name_text(key, "key")
        what = f"Failed to set xattr {name_text(xattr_name, 'xattr_name')!r}"
        self._change(what, key, steps.set_attribute(xattr_name, name_bytes(xattr_value, "xattr_value")))
        return True

    def rm_xattr(self, key: str, xattr_name: str) -> bool:
        """Raises ObjectNotFound for the object; an attribute that is not there is none the less gone."""
        name_text(key, "key")
        what = f"Failed to delete key {key!r} xattr {name_text(xattr_name, 'xattr_name')!r}"
        self._change(what, key, steps.remove_attribute(xattr_name))
        return True

    # --- compound operations

    def create_write_op(self) -> WriteOp:
        return WriteOp()

    def create_read_op(self) -> ReadOp:
        return ReadOp()

    def release_write_op(self, write_op: WriteOp) -> None:
        write_op.release()

    def release_read_op(self, read_op: ReadOp) -> None:
        read_op.release()

    def operate_write_op(
        self, write_op: WriteOp, oid: str, mtime: int = 0, flags: int = LIBRADOS_OPERATION_NOFLAG
    ) -> None:
        """Do all steps, or none. Afterwards the WriteOp is empty."""
        self.scope()
        change, refusals = _of(write_op, WriteOp, "write_op").taken()
        what = f"Failed to operate write op for oid {name_text(oid, 'oid')}"
        if change and all(step.do in _COMPARISONS for step in change):
            change.insert(
                0, steps.assert_exists()
            )  # what changes nothing is a question, and needs the object
        if change:
            self._change(what, oid, *change, refusals=refusals)

    def operate_read_op(self, read_op: ReadOp, oid: str, flag: int = LIBRADOS_OPERATION_NOFLAG) -> None:
        """Ask all questions; the iterators have the answers then."""
        self.scope()
        operation: ReadOp = _of(read_op, ReadOp, "read_op")
        what = f"Failed to operate read op for oid {name_text(oid, 'oid')}"
        for data, offset in operation.comparisons:
            if differs := self.cmpext(oid, data, offset):
                raise make_ex(differs, what)
        with asking(what):
            for question in operation.questions:
                question(oid)

    def set_omap(self, write_op: WriteOp, keys: Sequence[str], values: Sequence[bytes]) -> None:
        """Set these keys."""
        _of(write_op, WriteOp, "write_op").steps.append(steps.set_omap(pairs(keys, values)))

    def remove_omap_keys(self, write_op: WriteOp, keys: Sequence[str]) -> None:
        """Remove these keys, those of them that there are."""
        write_op.steps.append(steps.remove_omap([name_text(key, "keys") for key in keys]))

    def remove_omap_range2(self, write_op: WriteOp, key_begin: str, key_end: str) -> None:
        """Remove the keys from `key_begin` on and before `key_end`."""
        write_op.steps.append(
            steps.remove_omap_range(name_text(key_begin, "key_begin"), name_text(key_end, "key_end"))
        )

    def clear_omap(self, write_op: WriteOp) -> None:
        """Remove all keys."""
        write_op.steps.append(steps.clear_omap())

    def get_omap_vals(
        self, read_op: ReadOp, start_after: str, filter_prefix: str, max_return: int
    ) -> tuple[OmapIterator, int]:
        """Ask for keys and values behind `start_after` that begin so; -1 for all."""
        name_text(start_after, "start_after", opt=True)
        return self._omap(read_op, start_after or "", name_text(filter_prefix, "", opt=True), max_return)

    def get_omap_keys(self, read_op: ReadOp, start_after: str, max_return: int) -> tuple[OmapIterator, int]:
        """Ask for keys behind `start_after`; -1 for all."""
        name_text(start_after, "start_after", opt=True)
        return self._omap(read_op, start_after or "", "", max_return, values=False)

    def get_omap_vals_by_keys(self, read_op: ReadOp, keys: Sequence[str]) -> tuple[OmapIterator, int]:
        """Ask for the values of those of these keys that there are."""
        wanted = [name_text(key, "keys") for key in keys]
        answer = OmapIterator(self)

        def ask(oid: str) -> None:
            here = self.scope()
            found = here.store.object_omap_values(here.pool, oid, wanted, namespace=here.namespace)
            pairs = sorted(found.items(), key=lambda pair: pair[0].encode())
            answer.fill([(key, value or None) for key, value in pairs])

        _of(read_op, ReadOp, "read_op").questions.append(ask)
        return answer, 0

    def _omap(
        self, read_op: ReadOp, after: str, prefix: str, most: int, *, values: bool = True
    ) -> tuple[OmapIterator, int]:
        answer = OmapIterator(self)

        def ask(oid: str) -> None:
            found: list[tuple[str, bytes | None]] = []
            for key, value in _omap_pairs(self.scope(), oid, after, prefix):
                if 0 <= most <= len(found):
                    break
                found.append((key, (value or None) if values else None))
            answer.fill(found)

        _of(read_op, ReadOp, "read_op").questions.append(ask)
        return answer, 0

    # --- listing

    def object_names(self) -> Iterator[tuple[str, str]]:
        """Names and namespaces of the objects in the Ioctx's namespace, or in all of them."""
        here = self.scope()
        what = "error listing the objects in ioctx"
        namespaces = [here.namespace]
        if here.namespace == LIBRADOS_ALL_NSPACES:
            with asking(what):
                namespaces = here.store.object_namespaces(here.pool)
        for namespace in namespaces:
            if namespace == HIDDEN:
                continue
            after = ""
            while True:
                with asking(what):
                    page = here.store.objects(here.pool, namespace, after=after, limit=_PAGE)
                if not page:
                    break
                yield from ((name, namespace) for name in page)
                after = page[-1]


HIDDEN = ".cowshed"
"""The namespace for what this face itself keeps of a pool."""


def _omap_pairs(here: Scope, oid: str, after: str, prefix: str) -> Iterator[tuple[str, bytes]]:
    while True:
        page = here.store.object_omap(
            here.pool, oid, namespace=here.namespace, after=after, prefix=prefix, limit=_PAGE
        )
        yield from page.values.items()
        if not page.more:
            return
        after = next(reversed(page.values))


def _of(value: Any, kind: type[Any], name: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(
            f"Argument '{name}' has incorrect type (expected rados.{kind.__name__},"
            f" got {type(value).__name__})"
        )
    return value
