"""The part of `RBD` that moves images: live migration, where there is nothing to copy."""

from __future__ import annotations

import errno
import json

from cowshed.compat.rbd.arguments import scope, text
from cowshed.compat.rbd.constants import (
    RBD_IMAGE_MIGRATION_STATE_EXECUTED,
    RBD_IMAGE_MIGRATION_STATE_PREPARED,
)
from cowshed.compat.rbd.layout import Layout
from cowshed.compat.rbd.progress import OnProgress, following
from cowshed.compat.rbd.translating import answering, make_error
from cowshed.compat.scope import Scope
from cowshed.store import ImageSpec, MigrationInfo

Text = str | bytes
_ENDING = "error aborting migration"
"""What the real module says for execute and commit, too."""


class PoolMigration:
    """A move is prepared, executed and committed, or aborted; all under the new name."""

    def migration_prepare(
        self,
        ioctx: object,
        image_name: Text,
        dest_ioctx: object,
        dest_image_name: Text,
        features: int | None = None,
        order: int | None = None,
        stripe_unit: int | None = None,
        stripe_count: int | None = None,
        data_pool: Text | None = None,
    ) -> None:
        """Give it its new name. `features` are checked, and stay as they are.

        Raises ImageNotFound, ImageExists, ImageBusy while it is open for writing or being moved.
        """
        image_name = text(image_name, "image_name")
        dest_image_name = text(dest_image_name, "dest_image_name")
        layout = Layout.of(features, order, stripe_unit, stripe_count, data_pool)
        message = f"error migrating image {image_name.encode()!r}"
        source, target = scope(ioctx), scope(dest_ioctx)
        layout.check(target, message)
        with answering(message):
            spec = ImageSpec(source.pool, source.namespace, image_name)
            if source.store.watchers(spec):
                raise make_error(errno.EBUSY, message)
            source.store.prepare_migration(
                spec,
                ImageSpec(target.pool, target.namespace, dest_image_name),
                order=layout.order or None,
            )

    def migration_prepare_import(
        self,
        source_spec: Text,
        dest_ioctx: object,
        dest_image_name: Text,
        features: int | None = None,
        order: int | None = None,
        stripe_unit: int | None = None,
        stripe_count: int | None = None,
        data_pool: Text | None = None,
    ) -> None:
        """Images from elsewhere are imported, not attached: raises OperationNotSupported.

        Before that, OSError (EBADMSG) for a source that is no JSON, InvalidArgument for one without type.
        """
        source_spec = text(source_spec, "source_spec")
        message = f"error migrating image {source_spec.encode()!r}"
        text(dest_image_name, "dest_image_name")
        Layout.of(features, order, stripe_unit, stripe_count, data_pool)
        scope(dest_ioctx)
        try:
            source = json.loads(source_spec)
        except ValueError:
            raise make_error(errno.EBADMSG, message) from None
        known = isinstance(source, dict) and isinstance(source.get("type"), str)
        raise make_error(errno.EOPNOTSUPP if known else errno.EINVAL, message)

    def migration_execute(
        self, ioctx: object, image_name: Text, on_progress: OnProgress | None = None
    ) -> None:
        """Raises ImageNotFound, InvalidArgument unless it is prepared and not yet executed."""
        where, spec, found = _moving(ioctx, image_name)
        if found.state != "prepared":
            raise make_error(errno.EINVAL, _ENDING)
        with answering(_ENDING):
            where.store.execute_migration(spec, progress=following(on_progress, _ENDING))

    def migration_commit(
        self, ioctx: object, image_name: Text, on_progress: OnProgress | None = None
    ) -> None:
        """Raises ImageNotFound, InvalidArgument unless it was executed."""
        where, spec, _ = _moving(ioctx, image_name)
        with answering(_ENDING):
            where.store.commit_migration(spec, progress=following(on_progress, _ENDING))

    def migration_abort(self, ioctx: object, image_name: Text, on_progress: OnProgress | None = None) -> None:
        """Give it its old name again. Raises ImageNotFound, InvalidArgument if it is not being moved."""
        where, spec, _ = _moving(ioctx, image_name)
        with answering(_ENDING):
            where.store.abort_migration(spec, progress=following(on_progress, _ENDING))

    def migration_status(self, ioctx: object, image_name: Text) -> dict[str, object]:
        """From where to where, and how far. Raises ImageNotFound, InvalidArgument."""
        message = "error getting migration status"
        where, spec, found = _moving(ioctx, image_name, message)
        with answering(message):
            ids = {pool.name: pool.id for pool in where.store.pools()}
        source = ImageSpec.parse(found.source)
        executed = found.state == "executed"
        return {
            "source_pool_id": ids.get(source.pool, -1),
            "source_pool_namespace": source.namespace,
            "source_image_name": source.image,
            "source_image_id": found.image_id,
            "dest_pool_id": ids.get(spec.pool, -1),
            "dest_pool_namespace": spec.namespace,
            "dest_image_name": spec.image,
            "dest_image_id": found.image_id,
            "state": RBD_IMAGE_MIGRATION_STATE_EXECUTED if executed else RBD_IMAGE_MIGRATION_STATE_PREPARED,
            "state_description": "",
        }


def _moving(ioctx: object, name: Text, message: str = _ENDING) -> tuple[Scope, ImageSpec, MigrationInfo]:
    name = text(name, "image_name")
    where = scope(ioctx)
    with answering(message):
        spec = ImageSpec(where.pool, where.namespace, name)
        found = where.store.migration(spec)
    if found is None:
        raise make_error(errno.EINVAL, message)
    return where, spec, found
