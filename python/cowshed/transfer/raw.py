"""Raw images in and out of a store."""

from __future__ import annotations

from typing import BinaryIO

from cowshed.formats.raw import RawSink, RawSource
from cowshed.store.interface import Image, Store
from cowshed.store.progress import Progress
from cowshed.store.spec import ImageSpec, as_image
from cowshed.transfer.copying import copy_in, copy_out
from cowshed.transfer.scratch import check_free


def import_raw(
    store: Store,
    spec: ImageSpec | str,
    stream: BinaryIO,
    *,
    order: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Make an image of a raw one: a file or device from where it stands, or a pipe up to its end.

    Holes and zeros take no space. The image appears under its name when it is complete and durable: until
    then it is called `<name>.importing-…`, and is removed again if the import fails.

    Raises AlreadyExists, NotFound (the pool), IOFailure, NoSpace.
    """
    spec = as_image(spec)
    check_free(store, spec)
    copy_in(store, spec, RawSource(stream), order, progress)


def export_raw(image: Image, stream: BinaryIO, *, progress: Progress | None = None) -> None:
    """Write an image, or a snapshot, as a raw one: sparse into an empty file, else every byte of it.

    A file is durable when this returns. Raises NoSpace, Disconnected, IOFailure.
    """
    size = image.size
    ranges = ((extent.offset, extent.length) for extent in image.diff())
    copy_out(image, size, ranges, RawSink(stream, size), progress)
