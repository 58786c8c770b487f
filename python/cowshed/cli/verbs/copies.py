"""cp, deep cp, sparsify; migration prepare, execute, commit, abort."""

from __future__ import annotations

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.places import image, image_or_snapshot, takes
from cowshed.cli.session import Session
from cowshed.cli.verbs.images import order_from, takes_order
from cowshed.store import ImageSpec, SnapSpec


@verb(
    "cp",
    examples="""
    cowshed cp disk1 disk2
    cowshed cp disk1@monday volumes/disk2
    """,
)
@takes(image_or_snapshot(), image("copy", side="dest", pool_of="spec"))
@takes_order
@takes_no_progress
@click.pass_obj
def cp(
    session: Session,
    spec: ImageSpec | SnapSpec,
    copy: ImageSpec,
    order: int | None,
    object_size: int | None,
    progress: bool,
) -> None:
    """Copy the content of an image or snapshot to a new image, at once: what is equal is stored once."""
    with session.open() as store, bar("Image copy", unit="step", wanted=progress) as shown:
        store.copy(spec, copy, order=order_from(order, object_size), progress=shown)


@verb(
    "deep cp",
    examples="""
    cowshed deep cp disk1 disk2
    """,
)
@takes(image_or_snapshot(), image("copy", side="dest", pool_of="spec"))
@takes_order
@click.option("--flatten", is_flag=True, help="Copy a clone without its parent.")
@takes_no_progress
@click.pass_obj
def deep_cp(
    session: Session,
    spec: ImageSpec | SnapSpec,
    copy: ImageSpec,
    order: int | None,
    object_size: int | None,
    flatten: bool,
    progress: bool,
) -> None:
    """Copy an image with all its snapshots; of a snapshot, with those up to it."""
    with session.open() as store, bar("Image deep copy", unit="step", wanted=progress) as shown:
        store.deep_copy(spec, copy, order=order_from(order, object_size), flatten=flatten, progress=shown)


@verb(
    "sparsify",
    examples="""
    cowshed sparsify disk1
    """,
)
@takes(image())
@click.option("--sparse-size", metavar="SIZE", hidden=True, help="Taken as rbd does; it is always 4 KiB.")
@takes_no_progress
@click.pass_obj
def sparsify(session: Session, spec: ImageSpec, sparse_size: str | None, progress: bool) -> None:
    """Return the space of blocks that are all zeros. Whole blocks of zeros take none in the first place."""
    with session.open() as store, bar("Image sparsify", unit="B", wanted=progress) as shown:
        store.sparsify(spec, progress=shown)


@verb(
    "migration prepare",
    examples="""
    cowshed migration prepare disk1 fast/disk1
    """,
)
@takes(image(), image("target", side="dest", pool_of="spec"))
@takes_order
@click.pass_obj
def prepare(
    session: Session, spec: ImageSpec, target: ImageSpec, order: int | None, object_size: int | None
) -> None:
    """Begin to move an image to another name or pool. It is usable under the new name at once."""
    with session.open() as store:
        store.prepare_migration(spec, target, order=order_from(order, object_size))


@verb(
    "migration execute",
    examples="""
    cowshed migration execute fast/disk1
    """,
)
@takes(image())
@takes_no_progress
@click.pass_obj
def execute(session: Session, spec: ImageSpec, progress: bool) -> None:
    """What RBD copies in this step is there already; the move can be committed then."""
    with session.open() as store:
        store.execute_migration(spec)


@verb(
    "migration commit",
    examples="""
    cowshed migration commit fast/disk1
    """,
)
@takes(image())
@takes_no_progress
@click.pass_obj
def commit(session: Session, spec: ImageSpec, progress: bool) -> None:
    """End a move: the image cannot be given its old name back by `abort` any more."""
    with session.open() as store:
        store.commit_migration(spec)


@verb(
    "migration abort",
    examples="""
    cowshed migration abort fast/disk1
    """,
)
@takes(image())
@takes_no_progress
@click.pass_obj
def abort(session: Session, spec: ImageSpec, progress: bool) -> None:
    """Take a move back: the image has its old name again."""
    with session.open() as store:
        store.abort_migration(spec)
