"""lock ls, add, rm; status."""

from __future__ import annotations

from typing import Any

import click

from cowshed.cli.command import verb
from cowshed.cli.output import Output, print_table, takes_format
from cowshed.cli.places import TextPlace, image, takes
from cowshed.cli.session import Session
from cowshed.store import ImageSpec


@verb(
    "lock ls",
    examples="""
    cowshed lock ls disk1
    """,
)
@takes(image())
@takes_format
@click.pass_obj
def ls(session: Session, spec: ImageSpec, output: Output) -> None:
    """List who holds the advisory lock of an image."""
    with session.open() as store:
        lock = store.locks(spec)
    lockers = lock.lockers if lock else ()
    if not output.plain:
        output.document(
            [{"id": who.cookie, "locker": who.client, "address": who.address} for who in lockers], "locks"
        )
        return
    if lock is None:
        return
    if lock.exclusive:
        print("There is 1 exclusive lock on this image.")
    else:
        is_are, s = ("is", "") if len(lockers) == 1 else ("are", "s")
        print(f"There {is_are} {len(lockers)} shared lock{s} on this image.\nLock tag: {lock.tag}")
    print_table(["Locker", "ID", "Address"], ([who.client, who.cookie, who.address] for who in lockers))


@verb(
    "lock add",
    examples="""
    cowshed lock add disk1 backup
    cowshed lock add disk1 reader1 --shared readers
    """,
)
@takes(image(), TextPlace("cookie", label="LOCK-ID", flag="lock-id"))
@click.option("--shared", metavar="TAG", help="Together with all that give the same tag.")
@click.pass_obj
def add(session: Session, spec: ImageSpec, cookie: str, shared: str | None) -> None:
    """Take the advisory lock of an image.

    It stays until it is removed, and hinders no one who does not ask.
    """
    with session.open() as store:
        store.lock(spec, cookie, tag=shared)


@verb(
    "lock rm",
    examples="""
    cowshed lock rm disk1 backup client.123
    """,
)
@takes(image(), TextPlace("cookie", label="LOCK-ID", flag="lock-id"), TextPlace("locker", flag="locker"))
@click.pass_obj
def rm(session: Session, spec: ImageSpec, cookie: str, locker: str) -> None:
    """Take the lock from who holds it, as `cowshed lock ls` shows him."""
    with session.open() as store:
        store.break_lock(spec, locker, cookie)


@verb(
    "status",
    examples="""
    cowshed status disk1
    """,
)
@takes(image())
@takes_format
@click.pass_obj
def status(session: Session, spec: ImageSpec, output: Output) -> None:
    """Show who has an image open, and whether it is being moved."""
    with session.open() as store:
        watchers, move = store.watchers(spec), store.migration(spec)
    if not output.plain:
        document: dict[str, Any] = {
            "watchers": [
                {"address": w.address, "client": w.client.removeprefix("client."), "cookie": w.cookie}
                for w in watchers
            ]
        }
        if move:
            document["migration"] = {"source": move.source, "destination": move.target, "state": move.state}
        output.document(document, "status")
        return
    print("Watchers:" if watchers else "Watchers: none")
    for watcher in watchers:
        print(f"\twatcher={watcher.address} {watcher.client} cookie={watcher.cookie}")
    if move:
        print(f"Migration:\n\tsource: {move.source}\n\tdestination: {move.target}\n\tstate: {move.state}")
