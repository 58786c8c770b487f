"""group: create, ls, info, rename, rm; image add, ls, rm; snap create, ls, rename, rm, rollback."""

from __future__ import annotations

import click

from cowshed.cli.bars import bar, takes_no_progress
from cowshed.cli.command import verb
from cowshed.cli.output import Output, print_table, takes_format, timestamp
from cowshed.cli.places import GroupPlace, Room, RoomPlace, TextPlace, image, takes
from cowshed.cli.session import Session
from cowshed.store import GroupSpec, ImageSpec

GroupSnap = tuple[GroupSpec, str]


@verb(
    "group create",
    examples="""
    cowshed group create vm1
    """,
)
@takes(GroupPlace())
@click.pass_obj
def create(session: Session, spec: GroupSpec) -> None:
    """Make a group: images of which snapshots are taken at one moment."""
    with session.open() as store:
        store.create_group(spec)


@verb(
    "group ls",
    examples="""
    cowshed group ls
    """,
)
@takes(RoomPlace())
@takes_format
@click.pass_obj
def ls(session: Session, room: Room, output: Output) -> None:
    """List the groups of a pool or namespace."""
    with session.open() as store:
        names = store.groups(*room)
    if not output.plain:
        output.document(names, "groups")
        return
    for name in names:
        print(name)


@verb(
    "group info",
    examples="""
    cowshed group info vm1
    """,
)
@takes(GroupPlace())
@takes_format
@click.pass_obj
def info(session: Session, spec: GroupSpec, output: Output) -> None:
    """Show a group."""
    with session.open() as store:
        found = store.group(spec)
    if output.plain:
        print(f"cowshed group '{found.name}':\n\tid: {found.id}")
        print(f"\timages: {len(found.images)}\n\tsnapshots: {len(found.snapshots)}")
    else:
        output.document({"group_name": found.name, "group_id": found.id}, "group")


@verb(
    "group rename",
    examples="""
    cowshed group rename vm1 web1
    """,
)
@takes(GroupPlace(), GroupPlace("new", side="dest"))
@click.pass_obj
def rename(session: Session, spec: GroupSpec, new: GroupSpec) -> None:
    """Give a group another name in its pool."""
    with session.open() as store:
        store.rename_group(spec, new)


@verb(
    "group rm",
    examples="""
    cowshed group rm vm1
    """,
)
@takes(GroupPlace())
@click.pass_obj
def rm(session: Session, spec: GroupSpec) -> None:
    """Remove a group with its snapshots. Its images stay."""
    with session.open() as store:
        store.remove_group(spec)


@verb(
    "group image add",
    examples="""
    cowshed group image add vm1 disk1
    cowshed group image add --group vm1 --image disk1
    """,
)
@takes(GroupPlace("group", side="group"), image(side="image"))
@click.pass_obj
def image_add(session: Session, group: GroupSpec, spec: ImageSpec) -> None:
    """Add an image to a group. It can be in one only."""
    with session.open() as store:
        store.add_to_group(group, spec)


@verb(
    "group image ls",
    examples="""
    cowshed group image ls vm1
    """,
)
@takes(GroupPlace())
@takes_format
@click.pass_obj
def image_ls(session: Session, spec: GroupSpec, output: Output) -> None:
    """List the images of a group."""
    with session.open() as store:
        members = [ImageSpec.parse(text) for text in store.group(spec).images]
    if not output.plain:
        output.document(
            [{"image": m.image, "pool": m.pool, "namespace": m.namespace} for m in members], "images"
        )
        return
    for member in members:
        print(member)


@verb(
    "group image rm",
    examples="""
    cowshed group image rm vm1 disk1
    """,
)
@takes(GroupPlace("group", side="group"), image(side="image"))
@click.pass_obj
def image_rm(session: Session, group: GroupSpec, spec: ImageSpec) -> None:
    """Take an image out of a group. The group's snapshots of it stay."""
    with session.open() as store:
        store.remove_from_group(group, spec)


@verb(
    "group snap create",
    examples="""
    cowshed group snap create vm1@monday
    """,
)
@takes(GroupPlace(snapshot=True))
@click.pass_obj
def snap_create(session: Session, spec: GroupSnap) -> None:
    """Take a snapshot of all images of a group, at one moment."""
    with session.open() as store:
        store.create_group_snapshot(*spec)


@verb(
    "group snap ls",
    examples="""
    cowshed group snap ls vm1
    """,
)
@takes(GroupPlace())
@takes_format
@click.pass_obj
def snap_ls(session: Session, spec: GroupSpec, output: Output) -> None:
    """List the snapshots of a group."""
    with session.open() as store:
        found = store.group(spec).snapshots
    if not output.plain:
        output.document([{"id": s.id, "snapshot": s.name, "state": "complete"} for s in found], "group_snaps")
    elif found:
        rows = ([s.name, "complete", str(len(s.members)), timestamp(s.created)] for s in found)
        print_table(["NAME", "STATUS", ">IMAGES", "TIMESTAMP"], rows)


@verb(
    "group snap rename",
    examples="""
    cowshed group snap rename vm1@monday week1
    """,
)
@takes(GroupPlace(snapshot=True), TextPlace("new", label="NEW-NAME", flag="dest-snap"))
@click.pass_obj
def snap_rename(session: Session, spec: GroupSnap, new: str) -> None:
    """Give a group's snapshot another name."""
    with session.open() as store:
        store.rename_group_snapshot(*spec, new.rpartition("@")[2])


@verb(
    "group snap rm",
    examples="""
    cowshed group snap rm vm1@monday
    """,
)
@takes(GroupPlace(snapshot=True))
@takes_no_progress
@click.pass_obj
def snap_rm(session: Session, spec: GroupSnap, progress: bool) -> None:
    """Remove a group's snapshot."""
    with session.open() as store, bar("Removing snap", unit="step", wanted=progress) as shown:
        store.remove_group_snapshot(*spec, progress=shown)


@verb(
    "group snap rollback",
    examples="""
    cowshed group snap rollback vm1@monday
    """,
)
@takes(GroupPlace(snapshot=True))
@takes_no_progress
@click.pass_obj
def snap_rollback(session: Session, spec: GroupSnap, progress: bool) -> None:
    """Give all images of a group their content of that snapshot, in one step."""
    with session.open() as store, bar("Rolling back", unit="step", wanted=progress) as shown:
        store.rollback_group(*spec, progress=shown)
