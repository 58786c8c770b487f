"""The part of `RBD` that makes, lists, renames and removes a pool's images."""

from __future__ import annotations

from cowshed.compat.rbd.arguments import scope, text, unsigned
from cowshed.compat.rbd.defaults import clone_format, settings
from cowshed.compat.rbd.iterators import ImageIterator
from cowshed.compat.rbd.layout import Layout
from cowshed.compat.rbd.progress import OnProgress, following
from cowshed.compat.rbd.translating import answering
from cowshed.store import ImageSpec

Text = str | bytes
_TO_TRASH = "rbd_move_to_trash_on_remove"
_DELAY = "rbd_move_to_trash_on_remove_expire_seconds"
_PARENT_TO_TRASH = "rbd_move_parent_to_trash_on_remove"


class PoolImages:
    """Images by their names."""

    def create(
        self,
        ioctx: object,
        name: Text,
        size: int,
        order: int | None = None,
        old_format: bool = False,
        features: int | None = None,
        stripe_unit: int | None = None,
        stripe_count: int | None = None,
        data_pool: Text | None = None,
    ) -> None:
        """A new image of `size` bytes.

        `old_format` gives an image of today's format, as with librbd 16. Striping is kept and told, and of no
        other meaning; `data_pool` is checked, and of none: a store has one place for all.

        Raises ImageExists, InvalidArgument, ArgumentOutOfRange (order), FunctionNotSupported (features),
        ImageNotFound (data pool, namespace), TypeError.
        """
        message = "error creating image"
        name = text(name, "name")
        layout = Layout.of(features, order, stripe_unit, stripe_count, data_pool)
        size = unsigned(size)
        if old_format:
            layout.refuse_for_old_format()
        where = scope(ioctx)
        layout.check(where, message)
        with answering(message):
            where.store.create(
                ImageSpec(where.pool, where.namespace, name),
                size,
                order=layout.order_for(where, message),
                features=layout.features_for(where, message),
                striping=layout.striping_for(where, message),
            )

    def clone(
        self,
        p_ioctx: object,
        p_name: Text,
        p_snapname: Text,
        c_ioctx: object,
        c_name: Text,
        features: int | None = None,
        order: int | None = None,
        stripe_unit: int | None = None,
        stripe_count: int | None = None,
        data_pool: Text | None = None,
    ) -> None:
        """A new image with a snapshot's content, which holds its parent as RBD's clones do.

        The format is what `rbd_default_clone_format` says; with format 1 the snapshot must be protected.

        Raises ImageNotFound, ImageExists, InvalidArgument, FunctionNotSupported (features without layering),
        ArgumentOutOfRange (order), TypeError.
        """
        message = "error creating clone"
        p_name, p_snapname = text(p_name, "p_name"), text(p_snapname, "p_snapname")
        c_name = text(c_name, "c_name")
        layout = Layout.of(features, order, stripe_unit, stripe_count, data_pool)
        source, target = scope(p_ioctx), scope(c_ioctx)
        with answering(message):
            parent = ImageSpec(source.pool, source.namespace, p_name).at(p_snapname)
            child = ImageSpec(target.pool, target.namespace, c_name)
            layout.check_clone(message)
            of_parent = source.store.stat(parent) if layout.spread else None
            layout.check_after(of_parent, target, message)
            target.store.clone(
                parent,
                child,
                order=layout.order or None,
                features=None if layout.features is None else layout.features_for(target, message),
                striping=layout.striping_after(of_parent),
                default_format=clone_format(target),
            )

    def list(self, ioctx: object) -> list[str]:
        """Names of the images, ascending."""
        where = scope(ioctx)
        with answering("error listing images"):
            return [*where.store.images(where.pool, where.namespace)]

    def list2(self, ioctx: object) -> ImageIterator:
        """Names and ids of the images."""
        return ImageIterator(ioctx)

    def remove(self, ioctx: object, name: Text, on_progress: OnProgress | None = None) -> None:
        """Remove an image, or move it to the trash where `rbd_move_to_trash_on_remove` says so; a parent that
        only clones hold also where `rbd_move_parent_to_trash_on_remove` does, until the last of them goes.

        Raises ImageNotFound, ImageHasSnapshots (with those that clones keep), ImageBusy while somebody has it
        open for writing, OSError with EMLINK while it belongs to a group.
        """
        message = "error removing image"
        name = text(name, "name")
        where = scope(ioctx)
        with answering(message):
            spec = ImageSpec(where.pool, where.namespace, name)
            options = settings(where, _TO_TRASH, _DELAY, _PARENT_TO_TRASH)
            if options[_TO_TRASH] == "true":
                where.store.trash_move(spec, delay=float(options[_DELAY]))
            else:
                where.store.remove(
                    spec,
                    unless_used=True,
                    parent_to_trash=options[_PARENT_TO_TRASH] == "true",
                    progress=following(on_progress, message),
                )

    def rename(self, ioctx: object, src: Text, dest: Text) -> None:
        """Raises ImageNotFound, ImageExists, InvalidArgument."""
        src, dest = text(src, "src"), text(dest, "dest")
        where = scope(ioctx)
        with answering("error renaming image"):
            where.store.rename(
                ImageSpec(where.pool, where.namespace, src), ImageSpec(where.pool, where.namespace, dest)
            )
