"""One open image or snapshot of a local store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cowshed._kernel import Disk, KernelError
from cowshed.errors import Closed, InvalidArgument, ReadOnly
from cowshed.local import images
from cowshed.local.boundary import kernel_errors
from cowshed.local.catalog import Catalog
from cowshed.local.clients import Client, Fence, Openings, cookie
from cowshed.refusals import translated
from cowshed.store.interface import Image
from cowshed.store.records import Extent, Locker
from cowshed.store.spec import ImageSpec, SnapSpec

if TYPE_CHECKING:
    from typing_extensions import Buffer  # collections.abc has it from Python 3.12 on


class LocalImage(Image):
    """Reads and writes go straight to the kernel, which checks ranges and takes any thread."""

    __slots__ = (
        "_catalog",
        "_disk",
        "_image_id",
        "_number",
        "_openings",
        "_owners",
        "_read_only",
        "_spec",
        "_version",
        "_written",
        "cached",
    )

    def __init__(
        self,
        catalog: Catalog,
        spec: ImageSpec | SnapSpec,
        image_id: str,
        version: int,
        read_only: bool,
        openings: Openings | None = None,
        client: Client | None = None,
        cached: bool = True,
    ) -> None:
        self._catalog = catalog
        self._spec = spec
        self._image_id = image_id
        self._version = version
        self._read_only = read_only
        self._written = False
        self.cached = cached
        self._disk: Disk | None = catalog.kernel.disk(version, cached=cached)
        self._openings: Openings | None = None
        self._owners: dict[str, int] = {}
        self._number = 0
        if openings and client and not read_only:
            self._openings = openings
            self._owners = openings.owners
            self._number = openings.enter(image_id, client)

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
        if (
            self._owners
            and self._owners.get(self._image_id, self._number) != self._number
            and self._openings
            and not self._openings.may_write(self._image_id, self._number)
        ):
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
    def image_id(self) -> str:
        return self._image_id

    @property
    def size(self) -> int:
        with kernel_errors:
            return self._open_disk().size

    @property
    def read_only(self) -> bool:
        return self._read_only

    def close(self) -> None:
        disk, self._disk = self._disk, None
        if disk is None or not self._catalog.home.is_here:
            return
        if self._openings:
            self._openings.leave(self._image_id, self._number)
        if self._written:
            self._settle()

    def _settle(self) -> None:
        """What was written is made durable, and the time of it."""
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
        return self._owners.get(self._image_id) == self._number

    def lock_acquire(self, *, automatic: bool = False) -> None:
        self._lockable().acquire(self._image_id, self._number, automatic=automatic)

    def lock_release(self) -> None:
        self._lockable().release(self._image_id, self._number)

    def lock_owner(self) -> Locker | None:
        return self._lockable().owner(self._image_id)

    def lock_break(self, cookie: str) -> None:
        self._lockable().break_owner(self._image_id, cookie)

    def _lockable(self) -> Openings:
        self._open_disk()
        self._catalog.home.check(repr(str(self._spec)))
        if self._openings is None:
            raise ReadOnly(f"{str(self._spec)!r} is open read-only, and has no exclusive lock")
        with kernel_errors:
            image = self._catalog.image_by_id(self._image_id)
        if image is not None and "exclusive-lock" not in image.features:
            raise InvalidArgument(
                f"{str(self._spec)!r} does not have the feature exclusive-lock",
                hint=f"`cowshed feature enable {self._spec} exclusive-lock`",
            )
        return self._openings

    # For those who serve the disk through the kernel, past this object.

    @property
    def version(self) -> int:
        """The kernel's version that is read and written here."""
        return self._version

    @property
    def number(self) -> int:
        """Of this opening among all that may write the image; 0 for a read-only one."""
        return self._number

    @property
    def cookie(self) -> str:
        """What this opening is called among watchers; empty for a read-only one."""
        return cookie(self._number) if self._number else ""

    @property
    def written(self) -> bool:
        """Whether it is known to have been: closing it then waits for the disk."""
        return self._written

    def note_written(self) -> None:
        """It was written past this object: closing shall write down the time, and flush; so shall this, if it
        was closed already.
        """
        if self._written or self._read_only:
            return
        self._written = True
        if self._disk is None:
            self._settle()

    def fence(self, make: Callable[[Callable[[int], bool]], Fence]) -> Fence | None:
        """The image's fence (`Openings.fence`), to be given back by `unfence`, closed or not; None when
        read-only.
        """
        return self._openings.fence(self._image_id, make) if self._openings else None

    def unfence(self) -> None:
        """Give back what `fence` gave."""
        if self._openings:
            self._openings.unfence(self._image_id)

    @kernel_errors
    def start_snapshots(self) -> list[str]:
        """The names of the snapshots that a diff can start from, in the order of their creation."""
        last = self._version if isinstance(self._spec, SnapSpec) else None
        return [
            snapshot.name
            for version, snapshot in self._catalog.snapshots(self._image_id)
            if snapshot.namespace == "user" and (last is None or version <= last)
        ]

    def diff(
        self,
        from_snapshot: str | None = None,
        *,
        offset: int = 0,
        length: int | None = None,
        own: bool = False,
    ) -> Iterator[Extent]:
        with kernel_errors:
            size = self._open_disk().size
            old = self._parent_version() if own else None
            if from_snapshot is not None:
                old = self.start_version(from_snapshot)
        end = size if length is None else offset + length
        if not 0 <= offset <= end <= size:
            raise InvalidArgument(
                f"the range {offset}…{end} is not within {str(self._spec)!r} of {size} bytes"
            )
        return self._extents(old, offset, end)

    @kernel_errors
    def start_version(self, from_snapshot: str) -> int:
        """The version that a diff from that snapshot starts from. Raises NotFound, InvalidArgument."""
        spec = self._spec.image_spec if isinstance(self._spec, SnapSpec) else self._spec
        _, _, version, _ = self._catalog.snapshot(spec.at(from_snapshot))
        if isinstance(self._spec, SnapSpec) and version > self._version:
            raise InvalidArgument(f"snapshot {from_snapshot!r} is newer than {str(self._spec)!r}")
        return version

    def _parent_version(self) -> int | None:
        """That of the snapshot that this was cloned from; None where there is none (any more)."""
        image = self._catalog.image_by_id(self._image_id)
        link = image.parent if image else None
        return link.snapshot if link and images.parent_of(self._catalog, link, 0) else None

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
