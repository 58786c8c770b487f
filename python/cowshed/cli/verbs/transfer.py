"""import and export: whole images."""

from __future__ import annotations

from pathlib import Path

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.files import STANDARD, reading, writing
from cowshed.cli.places import PathPlace, image, image_or_snapshot, takes
from cowshed.cli.session import Session
from cowshed.cli.verbs.images import DEFAULT_ORDER, order_from, takes_order
from cowshed.errors import InvalidArgument
from cowshed.store import DEFAULT_POOL, ImageSpec, SnapSpec


@verb(
    "import",
    examples="""
    cowshed import debian.raw
    cowshed import debian.raw images/debian
    zcat debian.raw.gz | cowshed import - debian
    """,
)
@takes(PathPlace(), image(optional=True, also="dest"))
@takes_order
@takes_no_progress
@click.pass_obj
def import_(
    session: Session,
    path: str,
    spec: ImageSpec | str | None,
    order: int | None,
    object_size: int | None,
    progress: bool,
) -> None:
    """Make an image from a raw file, or from stdin (-). Holes and zeros take no space.

    Without an image the file's name is taken. The image appears when it is complete: an import that fails
    or is interrupted leaves nothing.
    """
    from cowshed.transfer import import_raw

    chosen = order_from(order, object_size)
    if not isinstance(spec, ImageSpec):
        if path == STANDARD:
            raise InvalidArgument("an image from stdin needs a name", hint="`cowshed import - IMAGE`")
        spec = ImageSpec(spec or DEFAULT_POOL, "", Path(path).name)
    with (
        reading(path) as file,
        session.open() as store,
        bar("Importing image", unit="B", wanted=progress) as shown,
    ):
        import_raw(store, spec, file, order=DEFAULT_ORDER if chosen is None else chosen, progress=shown)


@verb(
    "export",
    examples="""
    cowshed export debian debian.raw
    cowshed export disk1@monday - | gzip > disk1.raw.gz
    """,
)
@takes(image_or_snapshot(), PathPlace())
@takes_no_progress
@click.pass_obj
def export(session: Session, spec: ImageSpec | SnapSpec, path: str, progress: bool) -> None:
    """Write an image or snapshot to a new raw file, sparse, or to stdout (-)."""
    from cowshed.transfer import export_raw

    with (
        session.open() as store,
        store.open(spec, read_only=True) as opened,
        writing(path) as file,
        bar("Exporting image", unit="B", wanted=progress) as shown,
    ):
        export_raw(opened, file, progress=shown)
