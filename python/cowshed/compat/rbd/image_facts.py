"""What an open image is: size, name, features, times, parent, group."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

from cowshed.compat.rbd.arguments import unsigned
from cowshed.compat.rbd.errors import InvalidArgument
from cowshed.compat.rbd.image_snapshots import moment
from cowshed.compat.rbd.opened import Opened, answered
from cowshed.compat.rbd.translating import make_error
from cowshed.store import GroupSpec, ParentInfo
from cowshed.store.features import mask

_OP_FEATURES = ("clone-parent", "clone-child", "group", "snap-trash")
_NO_POOL = (1 << 64) - 1


class Facts(Opened):
    """Sizes are bytes."""

    @answered("error getting size of")
    def size(self) -> int:
        """Of the snapshot that is chosen, else of the image."""
        return self._snap.size if self._snap else self._disk().size

    @answered("error getting info for")
    def stat(self) -> dict[str, Any]:
        """`size`, `obj_size`, `num_objs`, `order`, `block_name_prefix`; two more that tell nothing."""
        found = self._stat()
        size = self._snap.size if self._snap else found.size
        return {
            "size": size,
            "obj_size": found.object_size,
            "num_objs": replace(found, size=size).objects,
            "order": found.order,
            "block_name_prefix": found.block_name_prefix,
            "parent_pool": _NO_POOL,
            "parent_name": b"",
        }

    @answered("error getting name for")
    def get_name(self) -> str:
        """Its name of now."""
        return self._stat().name

    @answered("error getting id for")
    def id(self) -> str:
        return self._id

    @answered("error getting block name prefix for")
    def block_name_prefix(self) -> str:
        return self._settled().block_name_prefix

    @answered("error getting data pool id for")
    def data_pool_id(self) -> int:
        """Of the image's own pool: there are no others for data."""
        return self._pool_id(self._scope.pool)

    @answered("error getting features for")
    def features(self) -> int:
        return mask(self._settled().features)

    @answered("error getting operation features for")
    def op_features(self) -> int:
        noted = self._stat().op_features
        return sum(1 << bit for bit, name in enumerate(_OP_FEATURES) if name in noted)

    @answered("error getting flags for")
    def flags(self) -> int:
        """0: nothing here can become invalid."""
        self._stat()
        return 0

    @answered("error getting overlap for")
    def overlap(self) -> int:
        """How much of the image has its parent behind it; 0 without a parent."""
        found = self._scope.store.stat(self._chosen() if self._named() else self._spec())
        return found.parent.overlap if found.parent else 0

    @answered("error getting parent info for")
    def get_parent_image_spec(self) -> dict[str, str]:
        """`pool_name`, `pool_namespace`, `image_name`, `snap_name`. Raises ImageNotFound without a parent."""
        parent = self._parent()
        return {
            "pool_name": parent.pool,
            "pool_namespace": parent.namespace,
            "image_name": parent.image,
            "snap_name": parent.snapshot,
        }

    @answered("error getting parent info for")
    def parent_info(self) -> tuple[str, str, str]:
        """Pool, image and snapshot. Raises ImageNotFound without a parent."""
        parent = self._parent()
        return parent.pool, parent.image, parent.snapshot

    @answered("error getting parent id for")
    def parent_id(self) -> str:
        """Raises ImageNotFound without a parent."""
        return self._parent().image_id

    @answered("error getting old_format for")
    def old_format(self) -> bool:
        """False: format 1 is not made here."""
        return False

    @answered("error getting group for")
    def group(self) -> dict[str, Any]:
        """`pool` (its id, or -1) and `name` ("" without a group)."""
        group = self._stat().group
        if group is None:
            return {"pool": -1, "name": ""}
        spec = GroupSpec.parse(group)
        return {"pool": self._pool_id(spec.pool), "name": spec.group}

    @answered("error getting stripe unit for")
    def stripe_unit(self) -> int:
        """In bytes."""
        return self._settled().stripe_unit

    @answered("error getting stripe count for")
    def stripe_count(self) -> int:
        return self._settled().stripe_count

    @answered("error getting create timestamp for")
    def create_timestamp(self) -> datetime.datetime:
        """In UTC, without a zone; so the other two."""
        return moment(self._stat().created)

    @answered("error getting access timestamp for")
    def access_timestamp(self) -> datetime.datetime:
        """As far as is known: reads need leave no mark."""
        return moment(self._stat().accessed)

    @answered("error getting modify timestamp for")
    def modify_timestamp(self) -> datetime.datetime:
        """When it was last closed after writes."""
        return moment(self._stat().modified)

    @answered("error resizing")
    def resize(self, size: int, allow_shrink: bool = True) -> None:
        """Raises InvalidArgument for a smaller size unless `allow_shrink`, ReadOnlyImage."""
        size = unsigned(size)
        spec = self._changeable()
        if not allow_shrink and size < self._disk().size:
            raise InvalidArgument("error resizing image: shrinking is not allowed")
        self._scope.store.resize(spec, size, allow_shrink=True)

    @answered("error getting migration source of")
    def migration_source_spec(self) -> dict[str, Any]:
        """Raises InvalidArgument: no image here is being moved in from elsewhere."""
        raise make_error(22, f"error getting migration source of image {self._called!r}")

    def _named(self) -> bool:
        """Whether what is chosen can be found by its name."""
        return self._snap is None or self._snap.namespace == "user"

    def _parent(self) -> ParentInfo:
        parent = self._stat().parent
        if parent is None:
            raise make_error(2, f"error getting parent info for image {self._called!r}")
        return parent
