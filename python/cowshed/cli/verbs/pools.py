"""pool create, ls, rm, stats."""

from __future__ import annotations

import sys

import click

from cowshed.cli.command import verb
from cowshed.cli.output import Output, takes_format
from cowshed.cli.places import PoolPlace, takes
from cowshed.cli.session import Session
from cowshed.cli.sizes import format_size
from cowshed.store import DEFAULT_POOL


@verb(
    "pool create",
    examples="""
    cowshed pool create volumes
    """,
)
@takes(PoolPlace())
@click.pass_obj
def create(session: Session, pool: str) -> None:
    """Make a pool: a set of images with names of its own."""
    with session.open() as store:
        store.create_pool(pool)


@verb(
    "pool ls",
    examples="""
    cowshed pool ls
    """,
)
@takes()
@takes_format
@click.pass_obj
def ls(session: Session, output: Output) -> None:
    """List the pools."""
    with session.open() as store:
        names = [pool.name for pool in store.pools()]
    if output.plain:
        sys.stdout.writelines(f"{name}\n" for name in names)
    else:
        output.document(names)


@verb(
    "pool rm",
    examples="""
    cowshed pool rm volumes
    """,
)
@takes(PoolPlace())
@click.pass_obj
def rm(session: Session, pool: str) -> None:
    """Remove a pool that holds no images."""
    with session.open() as store:
        store.remove_pool(pool)


@verb(
    "pool stats",
    examples="""
    cowshed pool stats volumes
    """,
)
@takes(PoolPlace(default=DEFAULT_POOL))
@takes_format
@click.pass_obj
def stats(session: Session, pool: str, output: Output) -> None:
    """Show how many images and snapshots a pool has, and their sizes (`rbd` where none is named)."""
    with session.open() as store:
        found = store.pool_stats(pool)
    if not output.plain:
        output.document(
            {
                "images": {
                    "count": found.images,
                    "provisioned_bytes": found.provisioned,
                    "snap_count": found.snapshots,
                },
                "trash": {
                    "count": found.trash_images,
                    "provisioned_bytes": found.trash_provisioned,
                    "snap_count": found.trash_snapshots,
                },
            }
        )
        return
    in_trash = found.trash_images > 0
    for label, here, trash in (
        ("Total Images", str(found.images), str(found.trash_images)),
        ("Total Snapshots", str(found.snapshots), str(found.trash_snapshots)),
        ("Provisioned Size", format_size(found.provisioned), format_size(found.trash_provisioned)),
    ):
        print(f"{label}: {here}" + (f" ({trash} in trash)" if in_trash else ""))
