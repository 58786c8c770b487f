"""mirror pool info, mirror image status: what rbd answers where mirroring is disabled."""

from __future__ import annotations

import click

from cowshed.cli.command import verb
from cowshed.cli.output import Output, takes_format
from cowshed.cli.places import PoolPlace, image, takes
from cowshed.cli.session import Session
from cowshed.errors import InvalidArgument
from cowshed.store import DEFAULT_POOL, ImageSpec


@verb(
    "mirror pool info",
    examples="""
    cowshed mirror pool info
    """,
)
@takes(PoolPlace(default=DEFAULT_POOL))
@takes_format
@click.pass_obj
def pool_info(session: Session, pool: str, output: Output) -> None:
    """Show how a pool is mirrored: it is not. `export-diff` takes changes to another store or cluster."""
    with session.open() as store:
        mode = store.mirror_mode(pool)
    if output.plain:
        print(f"Mode: {mode}")
    else:
        output.document({"mode": mode}, "mirror")


@verb(
    "mirror image status",
    examples="""
    cowshed mirror image status disk1
    """,
)
@takes(image())
@takes_format
@click.pass_obj
def image_status(session: Session, spec: ImageSpec, output: Output) -> None:
    """Say that an image is not mirrored, with rbd's error."""
    with session.open() as store:
        store.stat(spec)
    raise InvalidArgument(
        f"mirroring is not enabled on image '{spec}'",
        hint="`cowshed export-diff` takes changes to another store or cluster",
    )
