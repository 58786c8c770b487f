"""One open image or snapshot of a local store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cowshed._kernel import Disk, KernelError
from cowshed.errors import Closed, InvalidArgument, ReadOnly
from cowshed.local import images
from cowshed.local.boundary import kernel_errors, translated
from cowshed.local.catalog import Catalog
from cowshed.local.clients import Clients
from cowshed.store.interface import Image
from cowshed.store.records import Extent, Locker
from cowshed.store.spec import ImageSpec, SnapSpec

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on


class LocalImage(Image):
    """Reads and writes go straight to the kernel, which checks ranges and takes any thread."""

    __slots__ = (
        "_catalog",
        "_clients",
        "_cookie",
        "_disk",
        "_image_id",
        "_owners",
        "_read_only",
        "_spec",
        "_version",
        "_written",
    )

    def __init__(
        self,
        catalog: Catalog,
        spec: ImageSpec | SnapSpec,
        image_id: str,
        version: int,
        read_only: bool,
        clients: Clients | None = None,
    ) -> None:
        self._catalog = catalog
        self._spec = spec
        self._image_id = image_id
        self._version = version
        self._read_only = read_only
        self._written = False
        self._disk: Disk | None = catalog.kernel.disk(version)
        self._clients = None if read_only else clients
        self._owners: dict[str, str] = self._clients.owners if self._clients else {}
        self._cookie = self._clients.enter(image_id) if self._clients else ""

    def _open_disk(self) -> Disk:
        if self._disk is None:
            raise Closed(f"{str(self._spec)!r} was closed")
        return self._disk

    def _writable_disk(self) -> Disk:
        disk = self._disk
        if disk is None or self._read_only:
            self._open_disk()
            raise ReadOnly(
                f"{str(self._spec)!r} is open read-only",
                hint="a snapshot cannot be written; clone it" if isinstance(self._spec, SnapSpec) else None,
            )
        if self._owners and self._owners.get(self._image_id, self._cookie) != self._cookie:
            raise ReadOnly(
                f"{str(self._spec)!r} cannot be written: another who has it open holds the exclusive lock",
                hint="wait until it is let go",
            )
        self._written = True
        return disk

    @property
    def spec(self) -> ImageSpec | SnapSpec:
        return self._spec

    @property
    def size(self) -> int:
        with kernel_errors:
            return self._open_disk().size

    @property
    def read_only(self) -> bool:
        return self._read_only

    def close(self) -> None:
        disk, self._disk = self._disk, None
        if disk is None:
            return
        if self._clients:
            self._clients.leave(self._image_id, self._cookie)
        if not self._written:
            return
        with kernel_errors:
            images.touch(self._catalog, self._image_id)
            self._catalog.kernel.flush()

    # The data path has its own try: a context manager costs as much as a small cached read.

    def read(self, offset: int, length: int) -> bytes:
        try:
            return (self._disk or self._open_disk()).read(offset, length)
        except KernelError as error:
            raise translated(error) from None

    def read_into(self, offset: int, buffer: Buffer) -> None:
        try:
            (self._disk or self._open_disk()).read_into(offset, buffer)
        except KernelError as error:
            raise translated(error) from None

    def write(self, offset: int, data: Buffer) -> None:
        try:
            self._writable_disk().write(offset, data)
        except KernelError as error:
            raise translated(error) from None

    def discard(self, offset: int, length: int) -> None:
        try:
            self._writable_disk().discard(offset, length)
        except KernelError as error:
            raise translated(error) from None

    def write_zeroes(self, offset: int, length: int) -> None:
        try:
            self._writable_disk().write_zeroes(offset, length)
        except KernelError as error:
            raise translated(error) from None

    def flush(self) -> None:
        self._open_disk()
        with kernel_errors:
            self._catalog.kernel.flush()

    @property
    def is_lock_owner(self) -> bool:
        self._open_disk()
        return bool(self._cookie) and self._owners.get(self._image_id) == self._cookie

    def lock_acquire(self) -> None:
        self._lockable().acquire(self._image_id, self._cookie)

    def lock_release(self) -> None:
        self._lockable().release(self._image_id, self._cookie)

    def lock_owner(self) -> Locker | None:
        return self._lockable().owner(self._image_id)

    def lock_break(self, cookie: str) -> None:
        self._lockable().break_owner(self._image_id, cookie)

    def _lockable(self) -> Clients:
        self._open_disk()
        if self._clients is None:
            raise ReadOnly(f"{str(self._spec)!r} is open read-only, and has no exclusive lock")
        with kernel_errors:
            image = self._catalog.image_by_id(self._image_id)
        if image is not None and "exclusive-lock" not in image.features:
            raise InvalidArgument(
                f"{str(self._spec)!r} does not have the feature exclusive-lock",
                hint=f"`cowshed feature enable {self._spec} exclusive-lock`",
            )
        return self._clients

    def diff(
        self, from_snapshot: str | None = None, *, offset: int = 0, length: int | None = None
    ) -> Iterator[Extent]:
        with kernel_errors:
            size = self._open_disk().size
            old = None if from_snapshot is None else self._start(from_snapshot)
        end = size if length is None else offset + length
        if not 0 <= offset <= end <= size:
            raise InvalidArgument(
                f"the range {offset}…{end} is not within {str(self._spec)!r} of {size} bytes"
            )
        return self._extents(old, offset, end)

    def _start(self, from_snapshot: str) -> int:
        """The version that a diff starts from."""
        spec = self._spec.image_spec if isinstance(self._spec, SnapSpec) else self._spec
        _, _, version, _ = self._catalog.snapshot(spec.at(from_snapshot))
        if isinstance(self._spec, SnapSpec) and version > self._version:
            raise InvalidArgument(f"snapshot {from_snapshot!r} is newer than {str(self._spec)!r}")
        return version

    def _extents(self, old: int | None, offset: int, end: int) -> Iterator[Extent]:
        """The kernel's pages of extents, merged where they meet."""
        last: Extent | None = None
        at: int | None = offset
        while at is not None and at < end:
            with kernel_errors:
                self._open_disk()
                page, at = self._catalog.kernel.diff(old, self._version, offset=at, length=end - at)
            for start, length, exists in page:
                if last and last.end == start and last.exists == exists:
                    last = Extent(last.offset, last.length + length, exists)
                    continue
                if last:
                    yield last
                last = Extent(start, length, exists)
        if last:
            yield last
