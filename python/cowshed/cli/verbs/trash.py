"""trash mv, ls, rm, restore, purge."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.output import Output, print_table, takes_format, timestamp
from cowshed.cli.places import IdPlace, Room, RoomPlace, image, takes
from cowshed.cli.session import Session
from cowshed.errors import InvalidArgument
from cowshed.store import ImageSpec, TrashInfo

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}


def parse_when(text: str) -> float:
    """A time from now on as rbd takes it: `now`, `2 hours`, `10 days`, or a date. Seconds since 1970."""
    words = text.strip().lower().split()
    if words == ["now"]:
        return time.time()
    if len(words) == 2 and words[0].isdecimal() and words[1].rstrip("s") in _UNITS:
        return time.time() + timedelta(seconds=int(words[0]) * _UNITS[words[1].rstrip("s")]).total_seconds()
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError):
        raise InvalidArgument(
            f"'{text}' is no time", hint="write `now`, `2 hours`, `10 days` or 2026-12-31"
        ) from None


@verb(
    "trash mv",
    examples="""
    cowshed trash mv disk1
    cowshed trash mv disk1 --expires-at "2 weeks"
    """,
)
@takes(image())
@click.option(
    "--expires-at", metavar="WHEN", default="now", help="When it may be purged: now, 2 weeks, a date."
)
@click.pass_obj
def mv(session: Session, spec: ImageSpec, expires_at: str) -> None:
    """Move an image to the trash: it loses its name, and can be restored. Snapshots and clones stay."""
    delay = parse_when(expires_at) - time.time()
    with session.open() as store:
        store.trash_move(spec, delay=max(delay, 0.0))


@verb(
    "trash ls",
    examples="""
    cowshed trash ls
    cowshed trash ls volumes -l
    """,
)
@takes(RoomPlace())
@click.option(
    "-a", "--all", "everything", is_flag=True, hidden=True, help="Taken as rbd does; all are listed."
)
@click.option("-l", "--long", is_flag=True, help="Show when they were removed, and until when they stay.")
@takes_format
@click.pass_obj
def ls(session: Session, room: Room, everything: bool, long: bool, output: Output) -> None:
    """List the trash of a pool or namespace."""
    with session.open() as store:
        found = store.trash(*room)
    if not output.plain:
        output.document([_document(entry, long) for entry in found], "trash")
    elif not long:
        for entry in found:
            print(f"{entry.id} {entry.name}")
    elif found:
        rows = ([e.id, e.name, e.source, timestamp(e.deleted), _status(e)] for e in found)
        print_table(["ID", "NAME", "SOURCE", "DELETED_AT", "STATUS"], rows)


def _status(entry: TrashInfo) -> str:
    what = "protected until" if entry.deferred_until > time.time() else "expired at"
    return f"{what} {timestamp(entry.deferred_until)}"


def _document(entry: TrashInfo, long: bool) -> dict[str, Any]:
    short = {"id": entry.id, "name": entry.name}
    if not long:
        return short
    return {**short, "source": entry.source, "deleted_at": timestamp(entry.deleted), "status": _status(entry)}


@verb(
    "trash rm",
    examples="""
    cowshed trash rm 10ab2c3d4e5f
    cowshed trash rm volumes/10ab2c3d4e5f --force
    """,
)
@takes(IdPlace())
@click.option("--force", is_flag=True, help="Remove it even before its time is over.")
@takes_no_progress
@click.pass_obj
def rm(session: Session, found: tuple[Room, str], force: bool, progress: bool) -> None:
    """Remove an image from the trash for good."""
    room, image_id = found
    with session.open() as store, bar("Removing image", unit="step", wanted=progress) as shown:
        store.trash_remove(room.pool, image_id, namespace=room.namespace, force=force, progress=shown)


@verb(
    "trash restore",
    examples="""
    cowshed trash restore 10ab2c3d4e5f
    cowshed trash restore volumes/10ab2c3d4e5f --image disk1-again
    """,
)
@takes(IdPlace())
@click.option("--image", "name", metavar="NAME", help="The name that it gets, instead of the one it had.")
@click.pass_obj
def restore(session: Session, found: tuple[Room, str], name: str | None) -> None:
    """Give an image in the trash its name again."""
    room, image_id = found
    with session.open() as store:
        store.trash_restore(room.pool, image_id, namespace=room.namespace, name=name)


@verb(
    "trash purge",
    examples="""
    cowshed trash purge
    cowshed trash purge volumes --expired-before "2 days"
    cowshed trash purge --threshold 0.8
    """,
)
@takes(RoomPlace())
@click.option("--expired-before", metavar="WHEN", help="Take what will have expired by then.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Remove the oldest, expired or not, until this share of the file system is in use: 0.8.",
)
@takes_no_progress
@click.pass_obj
def purge(
    session: Session, room: Room, expired_before: str | None, threshold: float | None, progress: bool
) -> None:
    """Remove all images from the trash whose time is over."""
    before = None if expired_before is None else parse_when(expired_before)
    with session.open() as store, bar("Removing images", unit="image", wanted=progress) as shown:
        store.trash_purge(*room, expired_before=before, threshold=threshold, progress=shown)
