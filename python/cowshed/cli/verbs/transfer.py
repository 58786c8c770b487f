"""import and export: whole images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.files import STANDARD, reading, writing
from cowshed.cli.new_images import Defaults
from cowshed.cli.output import Output, print_table, takes_format, timestamp
from cowshed.cli.places import PathPlace, Room, image, image_or_snapshot, takes
from cowshed.cli.session import Session
from cowshed.cli.sizes import format_size
from cowshed.cli.verbs.images import order_from, takes_order
from cowshed.errors import InvalidArgument
from cowshed.store import DEFAULT_POOL, ImageSpec, SnapSpec


def takes_export_format(function: Any) -> Any:
    """Add `--export-format`, 1 or 2."""
    return click.option(
        "--export-format",
        type=click.Choice(["1", "2"]),
        default="1",
        help="rbd's: 1 is raw; 2 holds all snapshots, order, features and metadata too. Default: 1.",
    )(function)


@verb(
    "import",
    examples="""
    cowshed import debian.raw
    cowshed import debian.raw images/debian
    zcat debian.raw.gz | cowshed import - debian
    cowshed import debian.qcow2 debian
    cowshed import overlay.qcow2 disk1 --input-format qcow2
    cowshed import old.qcow2 --list-snapshots
    rbd export --export-format 2 vm7 - | cowshed import --export-format 2 - vm7
    """,
)
@takes(PathPlace(), image(optional=True, also="dest"))
@click.option(
    "--input-format",
    type=click.Choice(["auto", "raw", "qcow2", "vmdk", "vhdx", "vdi"]),
    default="auto",
    help="The file's format. Default: what its first bytes look like.",
)
@click.option(
    "--list-snapshots", is_flag=True, help="Only list the internal snapshots of a qcow2, and import nothing."
)
@click.option("--input-snapshot", metavar="NAME", help="An internal snapshot of a qcow2, by id or name.")
@click.option(
    "--allow-backing-outside", is_flag=True, help="Follow a qcow2 to backing files in other folders."
)
@takes_order
@takes_export_format
@takes_no_progress
@takes_format
@click.pass_obj
def import_(
    session: Session,
    path: str,
    spec: ImageSpec | Room | None,
    input_format: str,
    input_snapshot: str | None,
    list_snapshots: bool,
    allow_backing_outside: bool,
    order: int | None,
    object_size: int | None,
    export_format: str,
    progress: bool,
    output: Output,
) -> None:
    """Make an image from a raw or qcow2 file, or from stdin (-). Holes and zeros take no space.

    With --export-format 2, from what `rbd export --export-format 2` or cowshed wrote, snapshots and all.

    Without an image the file's name is taken. The image appears when it is complete: an import that fails
    or is interrupted leaves nothing. Only raw can come through a pipe. vmdk, vhdx and vdi are read with
    qemu-img, where it is installed.

    A qcow2's backing files must be in its own folder, and are followed only if --input-format says that it
    is a qcow2: the guest of a raw disk can make it look like one.
    """
    from cowshed.transfer import import_image, import_with_snapshots

    chosen = order_from(order, object_size)
    if list_snapshots:
        with reading(path) as file:
            _print_snapshots(file, output)
        return
    if not isinstance(spec, ImageSpec):
        if path == STANDARD:
            raise InvalidArgument("an image from stdin needs a name", hint="`cowshed import - IMAGE`")
        spec = ImageSpec(*(spec or Room(DEFAULT_POOL, "")), Path(path).name)
    if export_format == "2" and (input_snapshot or input_format not in ("auto", "raw")):
        raise InvalidArgument(
            "--export-format 2 is a format of its own", hint="leave out --input-format and --input-snapshot"
        )
    with (
        reading(path) as file,
        session.open() as store,
        bar("Importing image", unit="B", wanted=progress) as shown,
    ):
        if export_format == "2":
            import_with_snapshots(store, spec, file, order=chosen, progress=shown)
            return
        defaults = Defaults.of(session, store, spec.pool)
        import_image(
            store,
            spec,
            file,
            format=input_format,
            snapshot=input_snapshot,
            allow_backing_outside=allow_backing_outside,
            order=defaults.order(chosen),
            features=defaults.features(None),
            progress=shown,
        )


def _print_snapshots(file: BinaryIO, output: Output) -> None:
    """The internal snapshots of a qcow2. Raises FormatError."""
    from cowshed.formats.qcow2 import snapshots_of

    found = snapshots_of(file)
    if not output.plain:
        output.document(
            [{"id": s.id, "name": s.name, "size": s.size, "timestamp": timestamp(s.date)} for s in found],
            "snapshots",
        )
    elif found:
        rows = ([s.id, s.name, format_size(s.size), timestamp(s.date)] for s in found)
        print_table(["ID", "NAME", ">SIZE", "TIMESTAMP"], rows)


@verb(
    "export",
    examples="""
    cowshed export debian debian.raw
    cowshed export disk1@monday - | gzip > disk1.raw.gz
    cowshed export debian debian.qcow2 --output-format qcow2
    cowshed export --export-format 2 disk1 - | ssh backup cowshed import --export-format 2 - disk1
    """,
)
@takes(image_or_snapshot(), PathPlace())
@click.option(
    "--output-format",
    type=click.Choice(["raw", "qcow2"]),
    default="raw",
    help="The format to write. Default: raw.",
)
@takes_export_format
@takes_no_progress
@click.pass_obj
def export(
    session: Session,
    spec: ImageSpec | SnapSpec,
    path: str,
    output_format: str,
    export_format: str,
    progress: bool,
) -> None:
    """Write an image or snapshot to a new raw file, sparse, or to stdout (-), or as qcow2 to either.

    With --export-format 2, write an image with all its snapshots, as `rbd export --export-format 2` does.
    """
    from cowshed.transfer import export_qcow2, export_raw, export_with_snapshots

    whole = _whole(spec) if export_format == "2" else None
    if whole and output_format != "raw":
        raise InvalidArgument(
            "--export-format 2 and --output-format qcow2 are different formats", hint="give one of them"
        )
    write = export_qcow2 if output_format == "qcow2" else export_raw
    with (
        session.open() as store,
        store.open(spec, read_only=True, cached=False) as opened,
        writing(path) as file,
        bar("Exporting image", unit="B", wanted=progress) as shown,
    ):
        if whole:
            export_with_snapshots(store, whole, file, progress=shown)
        else:
            write(opened, file, progress=shown)


def _whole(spec: ImageSpec | SnapSpec) -> ImageSpec:
    """What --export-format 2 can write. Raises InvalidArgument for a snapshot."""
    if isinstance(spec, SnapSpec):
        raise InvalidArgument(
            f"'{spec}' is one snapshot, and --export-format 2 writes an image with all of them",
            hint="leave out the @ part, or give --export-format 1",
        )
    return spec
