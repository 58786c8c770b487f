"""What every engine offers: `Store`, and `Image` for one open image.

Everything above the engines (command line, daemon, services) knows these two classes and the plain records of
`records.py`, nothing of an engine. Meaning and errno follow RBD (rbd(8), librbd) where RBD has the thing;
where cowshed is freer, the method says so, and docs/semantics.md lists it.
"""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import Self

from cowshed.store.clones import Clones
from cowshed.store.groups import Groups
from cowshed.store.image import Image
from cowshed.store.images import Images
from cowshed.store.locks import Locks
from cowshed.store.migration import Migration
from cowshed.store.objects import Objects
from cowshed.store.pools import Pools
from cowshed.store.settings import Settings
from cowshed.store.snapshots import Snapshots
from cowshed.store.space import Space
from cowshed.store.trash import Trash

__all__ = ["Image", "Store"]


class Store(Pools, Images, Snapshots, Clones, Trash, Groups, Settings, Locks, Migration, Objects, Space):
    """An open store. Use it as a context manager, or call `close`.

    Specs are `ImageSpec`/`SnapSpec` or their text, `[pool/[namespace/]]image[@snapshot]`. All changes are
    durable when the call returns. Methods may be called from several threads.
    """

    @property
    @abstractmethod
    def target(self) -> str:
        """What `cowshed.open` was given, made absolute."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
