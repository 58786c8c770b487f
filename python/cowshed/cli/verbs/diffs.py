"""diff, export-diff, import-diff, merge-diff: what changed, listed, written, applied and merged."""

from __future__ import annotations

from typing import Any

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.files import STANDARD, reading, writing
from cowshed.cli.output import Output, print_table, takes_format
from cowshed.cli.places import PathPlace, image, image_or_snapshot, takes
from cowshed.cli.session import Session
from cowshed.errors import InvalidArgument
from cowshed.store import ImageSpec, SnapSpec


def takes_from_snap(function: Any) -> Any:
    """Add `--from-snap`."""
    return click.option(
        "--from-snap",
        metavar="NAME",
        help="The snapshot of the same image to start from; without it, from an empty disk.",
    )(function)


@verb(
    "diff",
    examples="""
    cowshed diff disk1 --from-snap monday
    cowshed diff disk1@tuesday --from-snap monday --format json
    """,
)
@takes(image_or_snapshot())
@takes_from_snap
@takes_format
@click.pass_obj
def diff(session: Session, spec: ImageSpec | SnapSpec, from_snap: str | None, output: Output) -> None:
    """List what changed in an image or snapshot since an older snapshot of it, exact to the block."""
    with session.open() as store, store.open(spec, read_only=True) as opened:
        extents = list(opened.diff(from_snap))
    if not output.plain:
        output.document(
            [
                {"offset": e.offset, "length": e.length, "exists": "true" if e.exists else "false"}
                for e in extents
            ]
        )
    elif extents:
        print_table(
            ["Offset", "Length", "Type"],
            ((e.offset, e.length, "data" if e.exists else "zero") for e in extents),
        )


@verb(
    "export-diff",
    examples="""
    cowshed export-diff disk1@tuesday tuesday.diff --from-snap monday
    cowshed export-diff disk1@tuesday - --from-snap monday | ssh backup cowshed import-diff - disk1
    """,
)
@takes(image_or_snapshot(), PathPlace())
@takes_from_snap
@takes_no_progress
@click.pass_obj
def export_diff(
    session: Session, spec: ImageSpec | SnapSpec, path: str, from_snap: str | None, progress: bool
) -> None:
    """Write what changed to a new file, or to stdout (-), in the format of `rbd export-diff`."""
    from cowshed.transfer import export_diff as write_diff

    with (
        session.open() as store,
        store.open(spec, read_only=True, cached=False) as opened,
        writing(path) as file,
        bar("Exporting diff", unit="B", wanted=progress) as shown,
    ):
        write_diff(opened, from_snap, file, progress=shown)


@verb(
    "import-diff",
    examples="""
    cowshed import-diff tuesday.diff disk1
    """,
)
@takes(PathPlace(), image())
@takes_no_progress
@click.pass_obj
def import_diff(session: Session, path: str, spec: ImageSpec, progress: bool) -> None:
    """Apply a diff from a file, or from stdin (-), to an image, and take the snapshot that it ends with.

    Versions 1 and 2 of rbd's format are read. The image must have the snapshot that the diff starts from, and
    should not have changed since. A diff that is damaged or cut short leaves the image as it was.
    """
    from cowshed.transfer import import_diff as apply_diff

    with (
        reading(path) as file,
        session.open() as store,
        bar("Importing diff", unit="B", wanted=progress) as shown,
    ):
        apply_diff(store, spec, file, progress=shown)


@verb(
    "merge-diff",
    examples="""
    cowshed merge-diff tuesday.diff wednesday.diff both.diff
    zcat tuesday.diff.gz | cowshed merge-diff - wednesday.diff - | cowshed import-diff - disk1
    """,
)
@takes(PathPlace("first"), PathPlace("second"), PathPlace())
@takes_no_progress
@click.pass_obj
def merge_diff(session: Session, first: str, second: str, path: str, progress: bool) -> None:
    """Make one diff of two that follow each other, in a new file or on stdout (-). Needs no store.

    FIRST and SECOND are the files of the two diffs; one of them may be stdin (-). The first must end at the
    snapshot that the second starts from.
    """
    from cowshed.transfer import merge_diff as write_merged

    if first == second == STANDARD:
        raise InvalidArgument("both diffs cannot come from stdin", hint="name a file for one of them")
    with (
        reading(first) as older,
        reading(second) as newer,
        writing(path) as file,
        bar("Merging diffs", unit="B", wanted=progress) as shown,
    ):
        write_merged(older, newer, file, progress=shown)
