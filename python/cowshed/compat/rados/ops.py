"""Compound operations on one object: `WriteOp`, `ReadOp`, and what they answer with."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cowshed.compat.rados.errors import Error, make_ex, name_bytes, name_text, whole
from cowshed.store import ObjectStep, steps

if TYPE_CHECKING:
    from cowshed.compat.rados.objects import ObjectCalls

LIBRADOS_CREATE_EXCLUSIVE = 1
LIBRADOS_CREATE_IDEMPOTENT = 0

LIBRADOS_CMPXATTR_OP_EQ = 1
LIBRADOS_CMPXATTR_OP_NE = 2
LIBRADOS_CMPXATTR_OP_GT = 3
LIBRADOS_CMPXATTR_OP_GTE = 4
LIBRADOS_CMPXATTR_OP_LT = 5
LIBRADOS_CMPXATTR_OP_LTE = 6

LIBRADOS_OPERATION_NOFLAG = 0

Refusal = Callable[["ObjectCalls", str], int]
"""Asked about the object after a comparison failed: an errno if it was this one, or 0."""


class OpCtx:
    """`with WriteOpCtx() as op:`"""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, type: type[BaseException] | None, msg: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Forget what was collected."""
        raise NotImplementedError


class WriteOp:
    """Steps that are done all, or not at all, by `Ioctx.operate_write_op`; afterwards there are none left."""

    def __init__(self) -> None:
        self.steps: list[ObjectStep] = []
        self.refusals: list[Refusal] = []
        """What each step that compares answers if it does not hold."""

    def create(self) -> Self:
        """Nothing is left to be made."""
        return self

    def release(self) -> None:
        """Forget the steps."""
        self.steps.clear()
        self.refusals.clear()

    def new(self, exclusive: int | None = None) -> None:
        """Make the object; exclusively: it must not be there."""
        self.steps.append(steps.create(exclusively=exclusive == LIBRADOS_CREATE_EXCLUSIVE))

    def remove(self) -> None:
        """Remove the object."""
        self.steps.append(steps.remove())

    def set_flags(self, flags: int = LIBRADOS_OPERATION_NOFLAG) -> None:
        """Hints for a cluster: of no meaning here."""
        whole(flags)

    def set_xattr(self, xattr_name: str, xattr_value: bytes) -> None:
        self.steps.append(
            steps.set_attribute(name_text(xattr_name, "xattr_name"), name_bytes(xattr_value, "xattr_value"))
        )

    def rm_xattr(self, xattr_name: str) -> None:
        self.steps.append(steps.remove_attribute(name_text(xattr_name, "xattr_name")))

    def append(self, to_write: bytes) -> None:
        self.steps.append(steps.append(name_bytes(to_write, "to_write")))

    def write_full(self, to_write: bytes) -> None:
        self.steps.append(steps.write_full(name_bytes(to_write, "to_write")))

    def write(self, to_write: bytes, offset: int = 0) -> None:
        self.steps.append(steps.write(whole(offset), name_bytes(to_write, "to_write")))

    def assert_version(self, version: int) -> None:
        """Refuse the operation unless the object has this version (`Ioctx.get_last_version`)."""

        def refusal(ioctx: ObjectCalls, oid: str) -> int:
            found = ioctx.version_of(oid)
            if found == version:
                return 0
            return errno.ERANGE if version < found else errno.EOVERFLOW

        self._compare(steps.assert_version(whole(version)), refusal)

    def zero(self, offset: int, length: int) -> None:
        self.steps.append(steps.zero(whole(offset), whole(length)))

    def truncate(self, offset: int) -> None:
        self.steps.append(steps.truncate(whole(offset)))

    def execute(self, cls: str, method: str, data: bytes) -> None:
        """Object classes run in a cluster's OSDs. Raises OSError (EOPNOTSUPP)."""
        raise make_ex(errno.EOPNOTSUPP, f"there is no object class {cls!r} here")

    def writesame(self, to_write: bytes, write_len: int, offset: int = 0) -> None:
        """Write these bytes again and again, to `write_len` bytes."""
        self.steps.append(
            steps.write(whole(offset), repeated(name_bytes(to_write, "to_write"), whole(write_len)))
        )

    def cmpext(self, cmp_buf: bytes, offset: int = 0) -> None:
        """Refuse the operation unless these bytes are there: ExtendMismatch, or errno 4095 for the first."""
        self.steps.append(steps.compare(whole(offset), name_bytes(cmp_buf, "cmp_buf")))

    def omap_cmp(self, key: str, val: str, cmp_op: int = LIBRADOS_CMPXATTR_OP_EQ) -> None:
        """Refuse the operation unless the key has this value. Only equality is known here; a cluster also
        knows less and greater.
        """
        if cmp_op != LIBRADOS_CMPXATTR_OP_EQ:
            known = cmp_op in (LIBRADOS_CMPXATTR_OP_LT, LIBRADOS_CMPXATTR_OP_GT)
            raise make_ex(
                errno.EOPNOTSUPP if known else errno.EINVAL, "omap values are compared for equality only"
            )
        self._compare(
            steps.compare_omap(name_text(key, "key"), name_text(val, "val").encode()),
            lambda ioctx, oid: errno.ECANCELED,
        )

    def _compare(self, step: ObjectStep, refusal: Refusal) -> None:
        self.steps.append(step)
        self.refusals.append(refusal)

    def taken(self) -> tuple[list[ObjectStep], list[Refusal]]:
        """The steps, and the refusals of those that compare anything but data; both are forgotten."""
        found, refusals = list(self.steps), list(self.refusals)
        self.release()
        return found, refusals


class WriteOpCtx(WriteOp, OpCtx):
    """A WriteOp as a context manager."""


class ReadOp:
    """Questions about one object that `Ioctx.operate_read_op` asks; iterators take the answers."""

    def __init__(self) -> None:
        self.questions: list[Callable[[str], None]] = []
        self.comparisons: list[tuple[bytes, int]] = []
        """Bytes that must be there, and where."""

    def create(self) -> Self:
        """Nothing is left to be made."""
        return self

    def release(self) -> None:
        """Forget the questions."""
        self.questions.clear()
        self.comparisons.clear()

    def set_flags(self, flags: int = LIBRADOS_OPERATION_NOFLAG) -> None:
        """Hints for a cluster: of no meaning here."""
        whole(flags)

    def cmpext(self, cmp_buf: bytes, offset: int = 0) -> None:
        """Refuse the operation unless these bytes are there: ExtendMismatch tells where they are not."""
        name_bytes(cmp_buf, "cmp_buf")
        whole(offset)
        self.comparisons.append((cmp_buf, offset))


class ReadOpCtx(ReadOp, OpCtx):
    """A ReadOp as a context manager."""


class OmapIterator(Iterator[tuple[str, bytes | None]]):
    """Keys and values of an omap, once the ReadOp was operated.

    None for values that were not asked for; and, as with the real module, for those that are empty.
    """

    def __init__(self, ioctx: ObjectCalls) -> None:
        self.ioctx = ioctx
        self._answer: Iterator[tuple[str, bytes | None]] = iter(())

    def fill(self, answer: Sequence[tuple[str, bytes | None]]) -> None:
        """The answer has come."""
        self._answer = iter(answer)

    def __next__(self) -> tuple[str, bytes | None]:
        return next(self._answer)


class XattrIterator(Iterator[tuple[str, bytes]]):
    """Names and values of an object's attributes."""

    def __init__(self, ioctx: ObjectCalls, oid: str, found: dict[str, bytes]) -> None:
        self.ioctx = ioctx
        self.oid = oid
        self._found = iter(list(found.items()))

    def __next__(self) -> tuple[str, bytes]:
        return next(self._found)


def repeated(data: bytes, length: int) -> bytes:
    """`data` again and again. Raises InvalidArgumentError unless that comes out even."""
    if not data or length % len(data):
        raise make_ex(errno.EINVAL, f"{length} bytes are no multiple of {len(data)}")
    return data * (length // len(data))


def pairs(keys: Sequence[str], values: Sequence[bytes]) -> dict[str, bytes]:
    """Keys with their values. Raises Error unless there are as many of both."""
    if len(keys) != len(values):
        raise Error("Rados(): keys and values must have the same number of items")
    return {
        name_text(key, "keys"): name_bytes(value, "values") for key, value in zip(keys, values, strict=True)
    }
