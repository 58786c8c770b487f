"""`Image`: an open image, as librbd's Python binding has it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from types import TracebackType
from typing import Self

from cowshed.compat.rbd import arguments
from cowshed.compat.rbd.arguments import text
from cowshed.compat.rbd.completion import Completion
from cowshed.compat.rbd.errors import InvalidArgument
from cowshed.compat.rbd.image_aio import Asynchronous
from cowshed.compat.rbd.image_clones import Clones
from cowshed.compat.rbd.image_facts import Facts
from cowshed.compat.rbd.image_off import SwitchedOff
from cowshed.compat.rbd.image_settings import Settings
from cowshed.compat.rbd.image_snapshots import Snapshots
from cowshed.compat.rbd.opened import shown
from cowshed.compat.rbd.translating import answering
from cowshed.errors import CowshedError
from cowshed.errors import InvalidArgument as BadName
from cowshed.store import ImageSpec

_NO_SUCH: dict[type[CowshedError], int] = {BadName: errno.ENOENT}
"""A name that no image here can have is one that is not found."""


class Image(Asynchronous, Snapshots, Clones, Facts, Settings, SwitchedOff):
    """One that is opened without `read_only` is a watcher of the image until it is closed."""

    def __init__(
        self,
        ioctx: object,
        name: str | None = None,
        snapshot: str | None = None,
        read_only: bool = False,
        image_id: str | None = None,
        _oncomplete: Callable[[Completion], object] | None = None,
    ) -> None:
        """Open an image by its name or by its id, and choose a snapshot of it.

        With `_oncomplete` (RBD.aio_open_image) opening goes on by itself: `_opening` is its completion.
        Raises TypeError for what is no Ioctx, InvalidArgument, ImageNotFound.
        """
        self._closed = True
        self._scope = arguments.scope(ioctx)
        named = text(name, "name", opt=True)
        by_id = text(image_id, "image_id", opt=True)
        snap = text(snapshot, "snapshot", opt=True)
        if named is None and by_id is None:
            raise InvalidArgument("image name or image id was not specified")
        if named is not None and by_id is not None:
            raise InvalidArgument("only need to specify image name or image id")
        self.name: bytes | str = (named or by_id or "").encode("utf-8", "surrogateescape")
        self._called = self.name
        self._read_only = bool(read_only)
        self._opening: Completion | None = None
        if _oncomplete is None:
            self._open(named, by_id, snap)
        else:
            self._opening = Completion.begun(lambda: self._open(named, by_id, snap), _oncomplete)

    def _open(self, name: str | None, image_id: str | None, snapshot: str | None) -> None:
        store, pool, namespace = self._scope.store, self._scope.pool, self._scope.namespace
        with answering(f"error opening image {self.name!r} at snapshot {shown(snapshot)}", errnos=_NO_SUCH):
            spec = ImageSpec(pool, namespace, image_id or "" if name is None else name, by_id=name is None)
            if self._read_only or name is None:
                found = store.stat(spec)
                self._id = found.id
                self._at_opening = found if self._read_only else None
                if name is None:
                    self.name = found.name
            if not self._read_only:
                # What is large is not kept in memory twice: clients have caches of their own.
                self._head = store.open(spec, cached=False)
                self._id = self._head.image_id
            self._closed = False
            try:
                if snapshot is not None:
                    self._choose(self._by_name(snapshot))
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Flush what was written, and let go. Closing what is closed does nothing."""
        if self._closed:
            return
        self._closed = True
        opened = [image for image in (self._frozen, self._head) if image is not None]
        self._frozen = self._head = None
        with answering(f"error while closing image {self.name!r}"):
            failure: CowshedError | None = None
            for image in opened:
                try:
                    image.close()
                except CowshedError as error:
                    failure = error
            if failure:
                raise failure

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def __repr__(self) -> str:
        return f"rbd.Image(ioctx, {self.name!r})"
