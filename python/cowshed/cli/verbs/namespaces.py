"""namespace create, ls, rm."""

from __future__ import annotations

import click

from cowshed.cli.command import verb
from cowshed.cli.output import Output, print_table, takes_format
from cowshed.cli.places import PoolPlace, Room, RoomPlace, takes
from cowshed.cli.session import Session
from cowshed.store import DEFAULT_POOL


@verb(
    "namespace create",
    examples="""
    cowshed namespace create volumes/tenant1
    cowshed namespace create --pool volumes --namespace tenant1
    """,
)
@takes(RoomPlace(needs_namespace=True))
@click.pass_obj
def create(session: Session, room: Room) -> None:
    """Make a namespace in a pool: a set of images with names of its own."""
    with session.open() as store:
        store.create_namespace(room.pool, room.namespace)


@verb(
    "namespace ls",
    examples="""
    cowshed namespace ls volumes
    """,
)
@takes(PoolPlace(default=DEFAULT_POOL))
@takes_format
@click.pass_obj
def ls(session: Session, pool: str, output: Output) -> None:
    """List a pool's namespaces."""
    with session.open() as store:
        names = store.namespaces(pool)
    if not output.plain:
        output.document([{"name": name} for name in names], "namespaces")
    elif names:
        print_table(["NAME"], [[name] for name in names])


@verb(
    "namespace rm",
    examples="""
    cowshed namespace rm volumes/tenant1
    """,
)
@takes(RoomPlace(needs_namespace=True))
@click.pass_obj
def rm(session: Session, room: Room) -> None:
    """Remove a namespace that holds nothing."""
    with session.open() as store:
        store.remove_namespace(room.pool, room.namespace)
