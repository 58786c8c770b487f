"""clone, flatten, children."""

from __future__ import annotations

from typing import Any

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.new_images import Defaults, striping_from, takes_striping
from cowshed.cli.output import Output, takes_format
from cowshed.cli.places import image, image_or_snapshot, snapshot, takes
from cowshed.cli.session import Session
from cowshed.cli.verbs.images import order_from, takes_features, takes_order
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
@takes_striping
@takes_features
@click.option(
    "--rbd-default-clone-format",
    "clone_format",
    type=click.Choice(["1", "2"]),
    help="Hold the parent as RBD's clones do: 1, it must stay protected; 2, it is kept out of sight.",
)
@click.pass_obj
def clone(
    session: Session,
    spec: SnapSpec,
    child: ImageSpec,
    order: int | None,
    object_size: int | None,
    stripe_unit: int | None,
    stripe_count: int | None,
    features: list[str] | None,
    clone_format: str | None,
) -> None:
    """Make an image with a snapshot's content, at once at any size. It shares all that neither changes.

    The parent may go at any time, unless a clone format of RBD's is asked for.
    """
    striping = striping_from(stripe_unit, stripe_count)
    with session.open() as store:
        defaults = Defaults.of(session, store, child.pool)
        store.clone(
            spec,
            child,
            order=order_from(order, object_size),
            features=features,
            striping=striping,
            clone_format=defaults.clone_format(int(clone_format) if clone_format else None),
        )


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
@click.option("--descendants", is_flag=True, help="Show the clones of the clones, too, and so on.")
@takes_format
@click.pass_obj
def children(
    session: Session, spec: ImageSpec | SnapSpec, everything: bool, descendants: bool, output: Output
) -> None:
    """List the clones of a snapshot, or of any snapshot of an image, that were not flattened."""
    with session.open() as store:
        found = store.descendants(spec) if descendants else store.children(spec)
    found = [child for child in found if everything or not child.trash]
    if output.plain:
        for child in found:
            print(f"{child} (trash {child.id})" if child.trash else str(child))
    else:
        output.document([_child(child, everything) for child in found], "children")


def _child(child: ChildInfo, everything: bool) -> dict[str, Any]:
    names: dict[str, Any] = {
        "pool": child.pool,
        "pool_namespace": child.namespace,
        "image": child.image,
    }
    return {**names, "id": child.id, "trash": child.trash} if everything else names
