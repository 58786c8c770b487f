"""du and reclaim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.output import Output, print_table, takes_format
from cowshed.cli.places import Room, image_or_snapshot, takes
from cowshed.cli.session import Session
from cowshed.cli.sizes import format_size
from cowshed.store import DEFAULT_POOL, ImageSpec, SnapSpec, Store

Line = dict[str, Any]


@verb(
    "du",
    examples="""
    cowshed du
    cowshed du --pool volumes
    cowshed du disk1
    cowshed du disk1@monday --format json
    """,
)
@takes(image_or_snapshot(optional=True))
@click.option("--merge-snapshots", is_flag=True, help="One line per image, its snapshots included.")
@click.option("--exact", is_flag=True, hidden=True, help="Taken as rbd does; it is always exact.")
@takes_format
@click.pass_obj
def du(
    session: Session,
    spec: ImageSpec | SnapSpec | Room | None,
    merge_snapshots: bool,
    exact: bool,
    output: Output,
) -> None:
    """Show the space of a pool's images, of one image, or of a snapshot, exact to the block.

    USED is what a line adds to the snapshot before it, as rbd has it; the first line of an image, a clone
    included, shows all that it refers to. EXCLUSIVE is what would come back if that line alone went.
    """
    with session.open() as store:
        if spec is None or isinstance(spec, Room):
            pool, only = spec or Room(DEFAULT_POOL, "")
            specs = [
                ImageSpec(pool, namespace, name)
                for namespace in ([only] if only else ["", *store.namespaces(pool)])
                for name in store.images(pool, namespace)
            ]
            lines = [line for each in specs for line in family_lines(store, each)]
        elif isinstance(spec, SnapSpec):
            lines = list(family_lines(store, spec.image_spec, spec.snapshot))
        else:
            lines = list(family_lines(store, spec))
    if merge_snapshots:
        lines = _merged(lines)
    heads = [line for line in lines if "snapshot" not in line]
    provisioned = sum(line["provisioned_size"] for line in heads or lines)
    used = sum(line["used_size"] for line in lines)
    if not output.plain:
        document: dict[str, Any] = {"images": lines}
        if spec is None or isinstance(spec, Room):
            document |= {"total_provisioned_size": provisioned, "total_used_size": used}
        output.document(document)
        return
    rows = [
        [
            f"{line['name']}@{line['snapshot']}" if "snapshot" in line else line["name"],
            format_size(line["provisioned_size"]),
            format_size(line["used_size"]),
            format_size(line["exclusive_size"]),
        ]
        for line in lines
    ]
    if len(rows) > 1:
        rows.append(["<TOTAL>", format_size(provisioned), format_size(used), ""])
    if rows:
        print_table(["NAME", ">PROVISIONED", ">USED", ">EXCLUSIVE"], rows)


def family_lines(store: Store, spec: ImageSpec, only: str | None = None) -> Iterator[Line]:
    """The snapshots of an image, the oldest first, then its head; with `only`, that snapshot alone."""
    stat = store.stat(spec)
    before: str | None = None
    taken = store.snapshots(spec) if stat.snapshot_count else []
    if only is not None:
        store.stat(spec.at(only))  # raises NotFound
    for snap in taken:
        if only in (None, snap.name):
            yield {
                "name": spec.image,
                "id": stat.id,
                "snapshot": snap.name,
                "snapshot_id": snap.id,
                **_sizes(store, spec.at(snap.name), before),
            }
        before = snap.name
    if only is None:
        yield {"name": spec.image, "id": stat.id, **_sizes(store, spec, before)}


def _sizes(store: Store, spec: ImageSpec | SnapSpec, before: str | None) -> Line:
    usage = store.usage(spec)
    used = usage.referenced
    if before is not None:
        with store.open(spec, read_only=True) as opened:
            used = sum(extent.length for extent in opened.diff(before) if extent.exists)
    return {
        "provisioned_size": usage.provisioned,
        "used_size": used,
        "referenced_size": usage.referenced,
        "exclusive_size": usage.exclusive,
    }


def _merged(lines: list[Line]) -> list[Line]:
    merged = []
    used = 0
    for line in lines:
        used += line["used_size"]
        if "snapshot" not in line:
            merged.append({**line, "used_size": used})
            used = 0
    return merged


@verb(
    "reclaim",
    examples="""
    cowshed reclaim
    """,
)
@takes_no_progress
@takes_format
@click.pass_obj
def reclaim(session: Session, progress: bool, output: Output) -> None:
    """Return freed space to the file system now, and say how much it was.

    It comes back by itself, by and by, whenever the store is open; this is for the impatient.
    """
    with session.open() as store:
        before = store.store_usage().blocks_file_bytes
        with bar("Reclaiming", unit="step", wanted=progress) as shown:
            store.reclaim(progress=shown)
        after = store.store_usage().blocks_file_bytes
    returned = max(before - after, 0)
    if output.plain:
        print(f"returned {format_size(returned)}; the data file takes {format_size(after)}")
    else:
        output.document({"returned_bytes": returned, "blocks_file_bytes": after})
