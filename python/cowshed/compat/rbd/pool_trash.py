"""The part of `RBD` about a pool's trash."""

from __future__ import annotations

import calendar
import datetime
import errno

from cowshed.compat.rbd.arguments import integer, scope, text
from cowshed.compat.rbd.iterators import TrashIterator, trash_entry
from cowshed.compat.rbd.progress import OnProgress, following
from cowshed.compat.rbd.translating import answering, make_error
from cowshed.store import ImageSpec

Text = str | bytes


class PoolTrash:
    """Images without a name, found by their ids."""

    def trash_move(self, ioctx: object, name: Text, delay: int = 0) -> None:
        """For `delay` seconds it can only be removed by force. Snapshots, clones and openers do not matter.

        Raises ImageNotFound, and OSError with EMLINK for a member of a group.
        """
        name, delay = text(name, "name"), integer(delay)
        where = scope(ioctx)
        with answering("error moving image to trash"):
            where.store.trash_move(ImageSpec(where.pool, where.namespace, name), delay=float(delay))

    def trash_purge(
        self, ioctx: object, expire_ts: datetime.datetime | None = None, threshold: float = -1
    ) -> None:
        """Remove what has expired, or had by `expire_ts` (UTC); with `threshold` (0 to 1) by space instead.

        Raises InvalidArgument, ImageHasSnapshots if images with snapshots stay.
        """
        message = "error purging images from trash"
        before = None if expire_ts is None else float(calendar.timegm(expire_ts.timetuple()))
        if threshold != -1 and not 0 <= threshold <= 1:
            raise make_error(errno.EINVAL, message)
        where = scope(ioctx)
        with answering(message):
            where.store.trash_purge(
                where.pool,
                where.namespace,
                expired_before=before,
                threshold=None if threshold == -1 else float(threshold),
            )

    def trash_remove(
        self, ioctx: object, image_id: Text, force: bool = False, on_progress: OnProgress | None = None
    ) -> None:
        """Raises ImageNotFound; PermissionError before its time, unless `force`; ImageHasSnapshots."""
        message = "error deleting image from trash"
        image_id = text(image_id, "image_id")
        where = scope(ioctx)
        with answering(message):
            where.store.trash_remove(
                where.pool,
                image_id,
                namespace=where.namespace,
                force=bool(force),
                progress=following(on_progress, message),
            )

    def trash_get(self, ioctx: object, image_id: Text) -> dict[str, object]:
        """One image of the trash, as `trash_list` shows it. Raises ImageNotFound."""
        message = "error retrieving image from trash"
        image_id = text(image_id, "image_id")
        where = scope(ioctx)
        with answering(message):
            for entry in where.store.trash(where.pool, where.namespace):
                if entry.id == image_id:
                    return trash_entry(entry)
        raise make_error(errno.ENOENT, message)

    def trash_list(self, ioctx: object) -> TrashIterator:
        """What is in the trash."""
        return TrashIterator(ioctx)

    def trash_restore(self, ioctx: object, image_id: Text, name: Text) -> None:
        """Give it back its name, or another one that is not empty. Raises ImageNotFound, ImageExists."""
        image_id, name = text(image_id, "image_id"), text(name, "name")
        where = scope(ioctx)
        with answering("error restoring image from trash"):
            where.store.trash_restore(where.pool, image_id, namespace=where.namespace, name=name or None)
