"""clone, flatten, children."""

from __future__ import annotations

import sys
from typing import Any

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.output import Output, takes_format
from cowshed.cli.places import image, image_or_snapshot, snapshot, takes
from cowshed.cli.session import Session
from cowshed.cli.verbs.images import order_from, takes_order
from cowshed.store import ChildInfo, ImageSpec, SnapSpec


@verb(
    "clone",
    examples="""
    cowshed clone debian@golden vm1
    cowshed clone images/debian@golden volumes/vm1
    """,
)
@takes(snapshot(), image("child", side="dest"))
@takes_order
@click.pass_obj
def clone(
    session: Session, spec: SnapSpec, child: ImageSpec, order: int | None, object_size: int | None
) -> None:
    """Make an image with a snapshot's content, at once at any size. It shares all that neither changes."""
    with session.open() as store:
        store.clone(spec, child, order=order_from(order, object_size))


@verb(
    "flatten",
    examples="""
    cowshed flatten vm1
    """,
)
@takes(image())
@takes_no_progress
@click.pass_obj
def flatten(session: Session, spec: ImageSpec, progress: bool) -> None:
    """Make a clone forget its parent. Nothing is copied: what they share stays shared."""
    with session.open() as store, bar("Flattening", unit="step", wanted=progress) as shown:
        store.flatten(spec, progress=shown)


@verb(
    "children",
    examples="""
    cowshed children debian@golden
    cowshed children debian
    """,
)
@takes(image_or_snapshot())
@click.option("-a", "--all", "everything", is_flag=True, help="Show ids too, and clones in the trash.")
@takes_format
@click.pass_obj
def children(session: Session, spec: ImageSpec | SnapSpec, everything: bool, output: Output) -> None:
    """List the clones of a snapshot, or of any snapshot of an image, that were not flattened."""
    with session.open() as store:
        found = store.children(spec)
    if output.plain:
        sys.stdout.writelines(f"{child}\n" for child in found)
    else:
        output.document([_child(child, everything) for child in found])


def _child(child: ChildInfo, everything: bool) -> dict[str, Any]:
    names: dict[str, Any] = {
        "pool": child.pool,
        "pool_namespace": child.namespace,
        "image": child.image,
    }
    return {**names, "id": child.id, "trash": False} if everything else names
