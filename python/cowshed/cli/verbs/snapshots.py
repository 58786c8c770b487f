"""snap create, ls, rm, purge, rename, protect, unprotect, rollback."""

from __future__ import annotations

from typing import Any

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.output import Output, print_table, takes_format, timestamp
from cowshed.cli.places import image, snapshot, takes
from cowshed.cli.session import Session
from cowshed.cli.sizes import format_size
from cowshed.store import ImageSpec, SnapshotInfo, SnapSpec


@verb(
    "snap create",
    examples="""
    cowshed snap create disk1@monday
    cowshed snap create --pool volumes --image disk1 --snap monday
    """,
)
@takes(snapshot())
@takes_no_progress
@click.pass_obj
def create(session: Session, spec: SnapSpec, progress: bool) -> None:
    """Take a snapshot. It costs the same at any size, and takes no space until something changes."""
    with session.open() as store:
        store.create_snapshot(spec)


@verb(
    "snap ls",
    examples="""
    cowshed snap ls disk1
    cowshed snap ls disk1 --format json
    """,
)
@takes(image())
@click.option("-a", "--all", "everything", is_flag=True, help="Show those too that groups and clones keep.")
@takes_format
@click.pass_obj
def ls(session: Session, spec: ImageSpec, everything: bool, output: Output) -> None:
    """List an image's snapshots, the oldest first."""
    with session.open() as store:
        taken = store.snapshots(spec, all_namespaces=everything)
    if not output.plain:
        output.document([_document(s, everything) for s in taken], "snapshots")
    elif taken:
        columns = [
            ">SNAPID",
            "NAME",
            ">SIZE",
            "PROTECTED",
            "TIMESTAMP",
            *(["NAMESPACE"] if everything else []),
        ]
        print_table(columns, (_row(s, everything) for s in taken))


def _document(s: SnapshotInfo, everything: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": s.id,
        "name": s.name,
        "size": s.size,
        "protected": "true" if s.protected else "false",
        "timestamp": timestamp(s.created),
    }
    if everything:
        document["namespace"] = {"type": s.namespace}
        if s.original_name is not None:
            document["namespace"]["original_name"] = s.original_name
        if s.group is not None:
            document["namespace"]["group snap"] = s.group
    return document


def _row(s: SnapshotInfo, everything: bool) -> list[str]:
    row = [str(s.id), s.name, format_size(s.size), "yes" if s.protected else "", timestamp(s.created)]
    if everything:
        detail = s.group or s.original_name
        row.append(f"{s.namespace} ({detail})" if detail else s.namespace)
    return row


@verb(
    "snap rm",
    examples="""
    cowshed snap rm disk1@monday
    """,
)
@takes(snapshot())
@takes_no_progress
@click.pass_obj
def rm(session: Session, spec: SnapSpec, progress: bool) -> None:
    """Remove a snapshot that is not protected. Clones of it live on."""
    with session.open() as store, bar("Removing snap", unit="step", wanted=progress) as shown:
        store.remove_snapshot(spec, progress=shown)


@verb(
    "snap purge",
    examples="""
    cowshed snap purge disk1
    """,
)
@takes(image())
@takes_no_progress
@click.pass_obj
def purge(session: Session, spec: ImageSpec, progress: bool) -> None:
    """Remove all snapshots of an image that are not protected."""
    with session.open() as store, bar("Removing all snapshots", unit="snap", wanted=progress) as shown:
        store.purge_snapshots(spec, progress=shown)


@verb(
    "snap rename",
    examples="""
    cowshed snap rename disk1@monday disk1@week1
    """,
)
@takes(snapshot(), snapshot("new", side="dest", pool_of="spec"))
@click.pass_obj
def rename(session: Session, spec: SnapSpec, new: SnapSpec) -> None:
    """Give a snapshot another name on its image."""
    with session.open() as store:
        store.rename_snapshot(spec, new)


@verb(
    "snap limit set",
    examples="""
    cowshed snap limit set disk1 --limit 10
    """,
)
@takes(image())
@click.option("--limit", required=True, type=click.IntRange(min=0), metavar="N", help="So many at most.")
@click.pass_obj
def limit_set(session: Session, spec: ImageSpec, limit: int) -> None:
    """Limit how many snapshots an image may have. More that it has already stay."""
    with session.open() as store:
        store.set_snapshot_limit(spec, limit)


@verb(
    "snap limit clear",
    examples="""
    cowshed snap limit clear disk1
    """,
)
@takes(image())
@click.pass_obj
def limit_clear(session: Session, spec: ImageSpec) -> None:
    """Let an image have any number of snapshots again."""
    with session.open() as store:
        store.set_snapshot_limit(spec, None)


@verb(
    "snap protect",
    examples="""
    cowshed snap protect debian@golden
    """,
)
@takes(snapshot())
@click.pass_obj
def protect(session: Session, spec: SnapSpec) -> None:
    """Keep a snapshot from being removed. Clones do not need this, unlike RBD's first ones."""
    with session.open() as store:
        store.protect_snapshot(spec)


@verb(
    "snap unprotect",
    examples="""
    cowshed snap unprotect debian@golden
    """,
)
@takes(snapshot())
@click.pass_obj
def unprotect(session: Session, spec: SnapSpec) -> None:
    """Allow a snapshot to be removed again, whether it has clones or not."""
    with session.open() as store:
        store.unprotect_snapshot(spec)


@verb(
    "snap rollback",
    examples="""
    cowshed snap rollback disk1@monday
    """,
)
@takes(snapshot())
@takes_no_progress
@click.pass_obj
def rollback(session: Session, spec: SnapSpec, progress: bool) -> None:
    """Give an image its snapshot's content and size. Newer snapshots stay; what was written since is lost."""
    with session.open() as store, bar("Rolling back", unit="step", wanted=progress) as shown:
        store.rollback(spec, progress=shown)
