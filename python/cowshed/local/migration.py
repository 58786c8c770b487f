"""Moves of images: RBD's live migration, where there is nothing to copy."""

from __future__ import annotations

from cowshed.errors import InvalidArgument, NotFound
from cowshed.local import keys
from cowshed.local.boundary import kernel_errors
from cowshed.local.catalog import Change, View
from cowshed.local.images import check_free, check_order
from cowshed.local.part import Part
from cowshed.local.stored import StoredImage, StoredMove
from cowshed.local.trash import check_alone
from cowshed.store.migration import Migration
from cowshed.store.progress import Progress
from cowshed.store.records import MigrationInfo
from cowshed.store.spec import ImageSpec, as_image
from cowshed.store.striping import inherited


class LocalMigration(Part, Migration):
    """The moves of a local store."""

    @kernel_errors
    def prepare_migration(
        self, source: ImageSpec | str, target: ImageSpec | str, *, order: int | None = None
    ) -> None:
        source, target = as_image(source), as_image(target)
        if order is not None:
            check_order(order)

        def decide(change: Change) -> None:
            image_id, image = change.named_image(source)
            check_alone(change, image_id, image, str(source))
            check_free(change, target)
            move = StoredMove((image.pool, image.namespace, image.name))
            change.put(keys.moving(image_id), move.encode())
            _move(change, image_id, _reordered(image, order), target)

        self._catalog.change(decide)

    @kernel_errors
    def execute_migration(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        spec = as_image(spec)

        def decide(change: Change) -> None:
            image_id, _, move = _moving(change, spec)
            change.put(keys.moving(image_id), StoredMove(move.source, executed=True).encode())

        self._catalog.change(decide)
        if progress:
            progress(1, 1)

    @kernel_errors
    def commit_migration(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        spec = as_image(spec)

        def decide(change: Change) -> None:
            image_id, _, move = _moving(change, spec)
            if not move.executed:
                raise InvalidArgument(
                    f"the move of {str(spec)!r} was not executed", hint="`cowshed migration execute` first"
                )
            change.delete(keys.moving(image_id))

        self._catalog.change(decide)
        if progress:
            progress(1, 1)

    @kernel_errors
    def abort_migration(self, spec: ImageSpec | str, *, progress: Progress | None = None) -> None:
        spec = as_image(spec)

        def decide(change: Change) -> None:
            image_id, image, move = _moving(change, spec)
            old = ImageSpec(*move.source)
            check_free(change, old)
            change.delete(keys.moving(image_id))
            _move(change, image_id, image, old)

        self._catalog.change(decide)
        if progress:
            progress(1, 1)

    @kernel_errors
    def migration(self, spec: ImageSpec | str) -> MigrationInfo | None:
        spec = as_image(spec)
        try:
            image_id, _, move = _moving(self._catalog, spec)
        except NotFound:
            self._catalog.image(spec)
            return None
        state = "executed" if move.executed else "prepared"
        return MigrationInfo(str(ImageSpec(*move.source)), str(spec), image_id, state)


def _reordered(image: StoredImage, order: int | None) -> StoredImage:
    """With another object order, and the striping if that goes with it."""
    if order is None:
        return image
    return image.changed(order=order, striping=inherited(order, image.striping))


def _moving(view: View, spec: ImageSpec) -> tuple[str, StoredImage, StoredMove]:
    image_id, image = view.image(spec)
    value = view.get(keys.moving(image_id))
    if value is None:
        raise NotFound(f"image {str(spec)!r} is not being moved")
    return image_id, image, StoredMove.decode(keys.moving(image_id), value)


def _move(change: Change, image_id: str, image: StoredImage, to: ImageSpec) -> None:
    """Give an image another name, in whatever pool; that it is free is known."""
    change.delete(keys.name(image.pool, image.namespace, image.name))
    change.put(keys.name(to.pool, to.namespace, to.image), image_id.encode())
    moved = image.changed(pool=to.pool, namespace=to.namespace, name=to.image)
    change.put(keys.image(image_id), moved.encode())
