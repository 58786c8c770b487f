"""The part of a store that makes, finds, changes and removes images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from cowshed.store.image import Image
from cowshed.store.progress import Progress
from cowshed.store.records import ImageStat
from cowshed.store.spec import ImageSpec, SnapSpec


class Images(ABC):
    """Images by their names."""

    @abstractmethod
    def create(
        self,
        spec: ImageSpec | str,
        size: int,
        *,
        order: int | None = None,
        features: Sequence[str] | None = None,
        striping: tuple[int, int] | None = None,
    ) -> None:
        """A new, empty image of `size` bytes; order, features and striping (unit in bytes, and count) are
        kept and reported as RBD's.

        Without them the pool's configuration decides, and then RBD's defaults.

        Raises AlreadyExists, NotFound (the pool), InvalidArgument.
        """

    @abstractmethod
    def images(self, pool: str, namespace: str = "") -> Iterator[str]:
        """Names of the pool's images, ascending."""

    @abstractmethod
    def stat(self, spec: ImageSpec | SnapSpec | str) -> ImageStat: ...

    @abstractmethod
    def open(
        self,
        spec: ImageSpec | SnapSpec | str,
        *,
        read_only: bool = False,
        snapshot_id: int | None = None,
        cached: bool = True,
    ) -> Image:
        """Open an image, or (always read-only) one of its snapshots, by name or by id. Raises NotFound.

        `cached=False` is for whoever reads or writes in bulk what is hardly used again soon: pieces of 64 KiB
        and more are not kept in memory, and what is written goes to the medium at once (where the system can
        do so: Linux 6.14).
        """

    @abstractmethod
    def rename(self, spec: ImageSpec | str, new: ImageSpec | str) -> None:
        """Within one pool. Raises NotFound, AlreadyExists, InvalidArgument across pools."""

    @abstractmethod
    def resize(self, spec: ImageSpec | str, size: int, *, allow_shrink: bool = False) -> None:
        """Raises InvalidArgument for a smaller size unless `allow_shrink`."""

    @abstractmethod
    def remove(
        self,
        spec: ImageSpec | str,
        *,
        unless_used: bool = False,
        parent_to_trash: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """Raises NotEmpty while it has snapshots. Clones of it do not matter: they hold what they need.

        With `unless_used` it is kept as RBD keeps it, and Busy raised, while anyone has it open for writing
        or it is being moved. With `parent_to_trash` one whose snapshots are all such that clones hold goes to
        the trash, until the last of these is removed or flattened.
        """

    @abstractmethod
    def find_image(self, pool: str, image_id: str, namespace: str = "") -> ImageSpec:
        """The spec of the image with an id. Raises NotFound; images in the trash have no spec."""

    @abstractmethod
    def copy(
        self,
        source: ImageSpec | SnapSpec | str,
        copy: ImageSpec | str,
        *,
        order: int | None = None,
        striping: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """A new image with the content and the metadata of an image or snapshot, and nothing else of it.

        O(1): what is equal is stored once. Raises NotFound, AlreadyExists.
        """

    @abstractmethod
    def deep_copy(
        self,
        source: ImageSpec | SnapSpec | str,
        copy: ImageSpec | str,
        *,
        order: int | None = None,
        striping: tuple[int, int] | None = None,
        flatten: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """As `copy`, with all snapshots, and with the parent unless `flatten`.

        Of a snapshot: with those up to it. O(1) for each snapshot.
        """

    @abstractmethod
    def sparsify(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> int:
        """Return the space of blocks that are all zeros; returns how many bytes that was.

        Writes of whole zero blocks take no space in the first place.
        """

    @abstractmethod
    def update_features(self, spec: ImageSpec | str, features: Sequence[str], enabled: bool) -> None:
        """Switch features on or off as `rbd feature enable|disable` does, with RBD's conditions.

        They are kept and reported; cowshed does what they stand for in any case. Raises InvalidArgument.
        """
