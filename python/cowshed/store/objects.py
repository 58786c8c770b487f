"""The part of a store that keeps small objects: named bytes with attributes and an ordered map, as RADOS has.

Programs that use RBD keep their notes so, beside their images: Cinder backup does. Objects have nothing to do
with images, and an image shows no objects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from cowshed.store.records import ObjectStat, OmapPage
from cowshed.store.steps import ObjectStep

MAX_OBJECT_BYTES = 16 << 20
"""Of data."""
MAX_NAME_BYTES = 2048
"""Of an object's name, as RADOS bounds it."""
MAX_ATTRIBUTES = 256
MAX_ATTRIBUTE_NAME_BYTES = 255
MAX_ATTRIBUTE_BYTES = 64 << 10
MAX_OMAP_KEY_BYTES = 4000
MAX_OMAP_VALUE_BYTES = 1 << 20
"""Of the header, too."""
MAX_STEPS = 1024
MAX_CHANGE_BYTES = 20 << 20
"""Of all data, names and values of one change together, and 16 for each pair."""
MAX_PAGE = 10_000
"""Names or keys in one answer."""
MAX_PAGE_BYTES = 16 << 20
"""Values in one answer are about so many bytes at most."""


class Objects(ABC):
    """Objects of a pool, named by any text.

    Here a namespace is any name: it need not have been created, and objects do not keep it from being
    removed. A pool's objects go with the pool. Every method raises NotFound for a pool that is not there, and
    InvalidArgument for names that cannot be; those of one object raise NotFound unless it is there.
    """

    @abstractmethod
    def objects(self, pool: str, namespace: str = "", *, after: str = "", limit: int = 1000) -> list[str]:
        """Names, ascending byte by byte: the first `limit` behind `after`. Empty: there are no more."""

    @abstractmethod
    def object_namespaces(self, pool: str) -> list[str]:
        """The namespaces that hold objects, ascending; the pool's own, "", among them if it does."""

    @abstractmethod
    def stat_object(self, pool: str, name: str, *, namespace: str = "") -> ObjectStat:
        """Size, time of the last change, version."""

    @abstractmethod
    def read_object(
        self, pool: str, name: str, *, namespace: str = "", offset: int = 0, length: int | None = None
    ) -> bytes:
        """The bytes there, all of one moment; fewer where the object ends, none behind it."""

    @abstractmethod
    def object_attributes(self, pool: str, name: str, *, namespace: str = "") -> dict[str, bytes]:
        """All attributes, by name."""

    @abstractmethod
    def object_omap(
        self,
        pool: str,
        name: str,
        *,
        namespace: str = "",
        after: str = "",
        prefix: str = "",
        limit: int = 1000,
    ) -> OmapPage:
        """Keys and values in order: those behind `after` that begin with `prefix`, `limit` at most."""

    @abstractmethod
    def object_omap_values(
        self, pool: str, name: str, keys: Sequence[str], *, namespace: str = ""
    ) -> dict[str, bytes]:
        """Those of these keys that there are."""

    @abstractmethod
    def object_omap_header(self, pool: str, name: str, *, namespace: str = "") -> bytes:
        """Empty if it was never set."""

    @abstractmethod
    def change_object(
        self, pool: str, name: str, steps: Sequence[ObjectStep], *, namespace: str = ""
    ) -> ObjectStat | None:
        """Do all steps (`cowshed.store.steps`), or none if one is refused; how it is then, None: not there.

        Each step sees what those before it did. Raises NotFound, AlreadyExists, Mismatch, as the steps say;
        TooLarge for what is beyond a bound; InvalidArgument.
        """
