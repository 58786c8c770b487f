"""create, ls, info, resize, rm, mv: images as such."""

from __future__ import annotations

import sys
from typing import Any

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.new_images import Defaults, striping_from, takes_striping
from cowshed.cli.output import Output, print_table, takes_format, timestamp
from cowshed.cli.places import Room, RoomPlace, image, image_or_snapshot, takes
from cowshed.cli.session import Session
from cowshed.cli.sizes import format_size, size_in_bytes, size_in_mib
from cowshed.errors import InvalidArgument
from cowshed.store import ImageSpec, ImageStat, ParentInfo, SnapSpec, Store


def order_from(order: int | None, object_size: int | None) -> int | None:
    """RBD's object order from `--order` or `--object-size`; None when neither was given."""
    if object_size is None:
        return order
    if object_size < 1 or object_size & (object_size - 1):
        raise InvalidArgument(f"--object-size {object_size} is not a power of two", hint="for example 4M")
    from_size = object_size.bit_length() - 1
    if order is not None and order != from_size:
        raise InvalidArgument("--order and --object-size contradict each other", hint="give one of them")
    return from_size


def takes_order(function: Any) -> Any:
    """Add `--order` and `--object-size`."""
    function = click.option(
        "--object-size", type=size_in_bytes, metavar="SIZE", help="RBD's object size; kept and reported."
    )(function)
    return click.option("--order", type=int, metavar="BITS", help="The same as a power of two: 22 for 4M.")(
        function
    )


def takes_features(function: Any) -> Any:
    """Add `--image-feature`, passed to the verb as `features` (None: not given)."""
    return click.option(
        "--image-feature",
        "features",
        multiple=True,
        metavar="FEATURE",
        callback=lambda ctx, param, value: [n for text in value for n in text.split(",")] or None,
        help="A feature of RBD's to report; kept. May be given several times.",
    )(function)


def takes_size(function: Any) -> Any:
    """Add `--size`, in MiB where no unit is given, as rbd has it."""
    return click.option(
        "-s",
        "--size",
        required=True,
        type=size_in_mib,
        metavar="SIZE",
        help="Size, with unit K, M, G, T or P (B for bytes); without one it counts in M.",
    )(function)


@verb(
    "create",
    examples="""
    cowshed create disk1 --size 10G
    cowshed create volumes/disk1 --size 512
    """,
)
@takes(image())
@takes_size
@takes_order
@takes_striping
@takes_features
@click.pass_obj
def create(
    session: Session,
    spec: ImageSpec,
    size: int,
    order: int | None,
    object_size: int | None,
    stripe_unit: int | None,
    stripe_count: int | None,
    features: list[str] | None,
) -> None:
    """Make an empty image. It takes no space until something is written."""
    chosen, striping = order_from(order, object_size), striping_from(stripe_unit, stripe_count)
    with session.open() as store:
        defaults = Defaults.of(session, store, spec.pool)
        store.create(
            spec,
            size,
            order=defaults.order(chosen),
            features=defaults.features(features),
            striping=defaults.striping(striping),
        )


@verb(
    "ls",
    examples="""
    cowshed ls
    cowshed ls volumes -l
    cowshed ls --format json
    """,
)
@takes(RoomPlace())
@click.option("-l", "--long", is_flag=True, help="Show sizes and parents, and the snapshots too.")
@takes_format
@click.pass_obj
def ls(session: Session, room: Room, long: bool, output: Output) -> None:
    """List the images of a pool (`rbd` where none is named), or of a namespace in it."""
    with session.open() as store:
        names = store.images(*room)
        if not long:
            if output.plain:
                sys.stdout.writelines(f"{name}\n" for name in names)
            else:
                output.document(list(names), "images")
            return
        entries = [entry for name in names for entry in _long_entries(store, ImageSpec(*room, name))]
    if not output.plain:
        output.document(entries, "images")
    elif entries:
        print_table(["NAME", ">SIZE", "PARENT", ">FMT", "PROT", "LOCK"], map(_long_row, entries))


def _long_entries(store: Store, spec: ImageSpec) -> list[dict[str, Any]]:
    stat = store.stat(spec)
    head: dict[str, Any] = {"image": stat.name, "id": stat.id, "size": stat.size}
    if stat.parent:
        head["parent"] = _parent_names(stat.parent)
    head["format"] = stat.format
    entries = [head]
    if lock := store.locks(spec):
        head["lock_type"] = "exclusive" if lock.exclusive else "shared"
    if not stat.snapshot_count:
        return entries
    for taken in store.snapshots(spec):
        entries.append(
            {
                "image": stat.name,
                "id": stat.id,
                "snapshot": taken.name,
                "snapshot_id": taken.id,
                "size": taken.size,
                "format": stat.format,
                "protected": "true" if taken.protected else "false",
            }
        )
    return entries


def _long_row(entry: dict[str, Any]) -> list[str]:
    name = f"{entry['image']}@{entry['snapshot']}" if "snapshot" in entry else entry["image"]
    protected = "yes" if entry.get("protected") == "true" else ""
    parent = entry.get("parent")
    parent_text = ""
    if parent:
        parts = [parent["pool"], parent["pool_namespace"], parent["image"]]
        parent_text = "/".join(part for part in parts if part) + f"@{parent['snapshot']}"
    return [
        name,
        format_size(entry["size"]),
        parent_text,
        str(entry["format"]),
        protected,
        entry.get("lock_type", "")[:4],
    ]


def _parent_names(parent: ParentInfo) -> dict[str, Any]:
    return {
        "pool": parent.pool,
        "pool_namespace": parent.namespace,
        "image": parent.image,
        "snapshot": parent.snapshot,
    }


@verb(
    "info",
    examples="""
    cowshed info disk1
    cowshed info disk1@monday --format json --pretty-format
    cowshed info
    """,
)
@takes(image_or_snapshot(optional=True))
@takes_format
@click.pass_obj
def info(session: Session, spec: ImageSpec | SnapSpec | Room | None, output: Output) -> None:
    """Show an image or a snapshot; the whole store where neither is named."""
    if isinstance(spec, Room):
        raise InvalidArgument(
            f"a pool is named ('{spec}'), but no image", hint="`cowshed pool stats` shows a pool"
        )
    with session.open() as store:
        if spec is None:
            _show_store(store, output)
            return
        stat = store.stat(spec)
    if output.plain:
        sys.stdout.write("\n".join(_info_lines(stat)) + "\n")
    else:
        output.document(_info_document(stat), "image")


def _info_document(stat: ImageStat) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": stat.name,
        "id": stat.id,
        "size": stat.size,
        "objects": stat.objects,
        "order": stat.order,
        "object_size": stat.object_size,
        "snapshot_count": stat.snapshot_count,
        "block_name_prefix": stat.block_name_prefix,
        "format": stat.format,
        "features": list(stat.features),
        "op_features": list(stat.op_features),
        "flags": list(stat.flags),
        **({"group": stat.group} if stat.group else {}),
        "create_timestamp": timestamp(stat.created),
        "access_timestamp": timestamp(stat.accessed),
        "modify_timestamp": timestamp(stat.modified),
    }
    if stat.protected is not None:
        document["protected"] = "true" if stat.protected else "false"
    if stat.parent:
        names = _parent_names(stat.parent)
        snapshot = names.pop("snapshot")
        document["parent"] = {
            **names,
            "id": stat.parent.image_id,
            "snapshot": snapshot,
            "trash": False,
            "overlap": stat.parent.overlap,
        }
    if stat.striping:
        document |= {"stripe_unit": stat.stripe_unit, "stripe_count": stat.stripe_count}
    return document


def _info_lines(stat: ImageStat) -> list[str]:
    objects = "object" if stat.objects == 1 else "objects"
    lines = [
        f"cowshed image '{stat.name}':",
        f"\tsize {format_size(stat.size)} in {stat.objects} {objects}",
        f"\torder {stat.order} ({format_size(stat.object_size)} objects)",
        f"\tsnapshot_count: {stat.snapshot_count}",
        f"\tid: {stat.id}",
        f"\tblock_name_prefix: {stat.block_name_prefix}",
        f"\tformat: {stat.format}",
        f"\tfeatures: {', '.join(stat.features)}",
        f"\top_features: {', '.join(stat.op_features)}",
        f"\tflags: {', '.join(stat.flags)}",
        *([f"\tgroup: {stat.group}"] if stat.group else []),
        f"\tcreate_timestamp: {timestamp(stat.created)}",
        f"\taccess_timestamp: {timestamp(stat.accessed)}",
        f"\tmodify_timestamp: {timestamp(stat.modified)}",
    ]
    if stat.protected is not None:
        lines.append(f"\tprotected: {stat.protected}")
    if stat.parent:
        lines += [f"\tparent: {stat.parent}", f"\toverlap: {format_size(stat.parent.overlap)}"]
    if stat.striping:
        lines += [f"\tstripe unit: {format_size(stat.stripe_unit)}", f"\tstripe count: {stat.stripe_count}"]
    return lines


def _show_store(store: Store, output: Output) -> None:
    usage = store.store_usage()
    if not output.plain:
        from dataclasses import asdict

        output.document({"target": store.target, **asdict(usage)})
        return
    lines = [
        f"cowshed store '{store.target}':",
        f"\tpools: {usage.pools}",
        f"\timages: {usage.images}",
        f"\tsnapshots: {usage.snapshots}",
        f"\tprovisioned: {format_size(usage.provisioned)}",
        f"\tdata in use: {format_size(usage.used)}",
        f"\tfree inside the blocks file: {format_size(usage.free)}",
        f"\tmetadata: {format_size(usage.metadata_bytes)}",
        f"\ton disk: {format_size(usage.blocks_file_bytes + usage.catalog_bytes)}",
    ]
    if usage.reclaim_pending:
        lines.append("\tstill being returned: yes (`cowshed reclaim` does it now)")
    sys.stdout.write("\n".join(lines) + "\n")


@verb(
    "resize",
    examples="""
    cowshed resize disk1 --size 20G
    cowshed resize disk1 --size 5G --allow-shrink
    """,
)
@takes(image())
@takes_size
@click.option("--allow-shrink", is_flag=True, help="Allow a smaller size; what lies beyond it is lost.")
@takes_no_progress
@click.pass_obj
def resize(session: Session, spec: ImageSpec, size: int, allow_shrink: bool, progress: bool) -> None:
    """Make an image larger or smaller. Its snapshots keep their sizes."""
    with session.open() as store:
        store.resize(spec, size, allow_shrink=allow_shrink)


@verb(
    "rm",
    examples="""
    cowshed rm disk1
    """,
)
@takes(image())
@takes_no_progress
@click.pass_obj
def rm(session: Session, spec: ImageSpec, progress: bool) -> None:
    """Remove an image that has no snapshots. Clones of it live on.

    Returns when its space is back with the file system. Ctrl-C leaves that for later, and it goes on by
    itself: the image is gone all the same.
    """
    with session.open() as store, bar("Removing image", unit="step", wanted=progress) as shown:
        store.remove(spec, progress=shown)


@verb(
    "mv",
    examples="""
    cowshed mv disk1 disk2
    """,
)
@takes(image(), image("new", side="dest", pool_of="spec"))
@click.pass_obj
def mv(session: Session, spec: ImageSpec, new: ImageSpec) -> None:
    """Give an image another name in its pool. Its snapshots and clones stay with it."""
    with session.open() as store:
        store.rename(spec, new)
