"""Images of any format in, and qcow2 out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cowshed.errors import FormatError, InvalidArgument, from_os_error
from cowshed.formats.probe import Format, probe
from cowshed.formats.qcow2 import Qcow2Sink, Qcow2Source
from cowshed.formats.raw import RawSource
from cowshed.formats.source import Source
from cowshed.formats.streams import name_of
from cowshed.store.interface import Image, Store
from cowshed.store.progress import Progress
from cowshed.store.spec import ImageSpec, as_image
from cowshed.transfer.copying import copy_in, copy_out
from cowshed.transfer.scratch import check_free

AUTO = "auto"


def import_image(
    store: Store,
    spec: ImageSpec | str,
    source: BinaryIO | str | os.PathLike[str],
    *,
    format: Format | str = AUTO,
    snapshot: str | None = None,
    allow_backing_outside: bool = False,
    order: int | None = None,
    features: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> None:
    """Make an image of a file, or of an open one from where it stands (raw: of a pipe too).

    `format` is one of `Format` or "auto": what the first bytes look like, else raw. Since a guest may have
    written those into a raw disk, a qcow2 that is only guessed is not followed to a backing file. Otherwise
    backing files must be in the folder of the file that names them. `allow_backing_outside` lifts both rules.
    `snapshot` picks an internal snapshot of a qcow2, by id or name. vmdk, vhdx and vdi go through qemu-img.

    The image appears under its name when it is complete and durable, and a failed import leaves nothing.
    Raises FormatError, AlreadyExists, NotFound (the pool, a backing file, the snapshot, qemu-img),
    InvalidArgument, IOFailure, NoSpace.
    """
    spec = as_image(spec)
    check_free(store, spec)
    with _opened(source) as stream:
        kind = _format(stream, format)
        if snapshot is not None and kind is not Format.QCOW2:
            raise InvalidArgument(f"{name_of(stream)} is {kind}, which has no internal snapshots")
        with _source(
            stream,
            kind,
            snapshot=snapshot,
            backing=format != AUTO or allow_backing_outside,
            allow_backing_outside=allow_backing_outside,
        ) as disk:
            copy_in(store, spec, disk, order, progress, features=features)


@contextmanager
def _opened(source: BinaryIO | str | os.PathLike[str]) -> Iterator[BinaryIO]:
    if not isinstance(source, (str, os.PathLike)):
        yield source
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115 - closed below, so that its errors are told apart
    except OSError as error:
        raise from_os_error(error, f"cannot read '{os.fspath(source)}'") from None
    with stream:
        yield stream


def _format(stream: BinaryIO, asked: Format | str) -> Format:
    """The format to read a stream as."""
    if asked != AUTO:
        try:
            return Format(asked)
        except ValueError:
            known = ", ".join([AUTO, *Format])
            raise InvalidArgument(
                f"there is no format {asked!r} to read", hint=f"there are {known}"
            ) from None
    kind = probe(stream)
    if kind is not Format.RAW and not stream.seekable():
        raise FormatError(
            f"{name_of(stream)} looks like {kind}, which cannot be read from a pipe",
            hint="save it to a file first; `--input-format raw` takes the bytes as they are",
        )
    return kind


@contextmanager
def _source(
    stream: BinaryIO, kind: Format, *, snapshot: str | None, backing: bool, allow_backing_outside: bool
) -> Iterator[Source]:
    if kind is Format.RAW:
        yield RawSource(stream)
    elif kind is Format.QCOW2:
        with Qcow2Source(
            stream, snapshot=snapshot, backing=backing, allow_backing_outside=allow_backing_outside
        ) as source:
            yield source
    else:
        from cowshed.transfer.foreign import as_qcow2

        with as_qcow2(stream, kind) as converted, Qcow2Source(converted, backing=False) as source:
            yield source


def export_qcow2(image: Image, stream: BinaryIO, *, progress: Progress | None = None) -> None:
    """Write an image, or a snapshot, as qcow2 (version 3, plain) into a file or a pipe.

    What has no data takes no space. The size is rounded up to 512 bytes, as QEMU has it. A file is durable
    when this returns. Raises NoSpace, Disconnected, IOFailure.
    """
    size = image.size
    # The sink's own ranges are read: an image that is written meanwhile may have got others.
    sink = Qcow2Sink(stream, size, ((extent.offset, extent.length) for extent in image.diff()))
    copy_out(image, size, sink.extents(), sink, progress)
