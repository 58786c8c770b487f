"""tree: the family of images, snapshots and clones, and what each holds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import click

from cowshed.cli.command import verb
from cowshed.cli.output import Output, print_table, takes_format
from cowshed.cli.places import Room, image, takes
from cowshed.cli.session import Session
from cowshed.cli.sizes import format_size
from cowshed.store import ImageSpec, ImageStat, SnapshotInfo, Store, Usage

Key = tuple[str, str, str]
"""An image by pool, namespace and name."""


@dataclass
class Snap:
    """A snapshot in the family, and the clones that name it as their parent."""

    info: SnapshotInfo
    usage: Usage
    clones: list[Key] = field(default_factory=list)


@dataclass
class Member:
    """An image in the family."""

    spec: ImageSpec
    stat: ImageStat
    usage: Usage
    snapshots: list[Snap]

    @property
    def parent(self) -> Key | None:
        """The image it was cloned from."""
        parent = self.stat.parent
        return (parent.pool, parent.namespace, parent.image) if parent else None


@verb(
    "tree",
    examples="""
    cowshed tree
    cowshed tree debian
    cowshed tree --pool volumes --format json
    """,
)
@takes(image(optional=True))
@click.option("--dot", is_flag=True, help="Write a graph for Graphviz: cowshed tree --dot | dot -Tsvg.")
@takes_format
@click.pass_obj
def tree(session: Session, spec: ImageSpec | Room | None, dot: bool, output: Output) -> None:
    """Show images, their snapshots, and the clones of those.

    Without an image, all of the store or of one pool; with one, the whole family it belongs to. HOLDS is
    all that a line refers to, shared or not; ALONE is what would come back if that line alone went.
    """
    with session.open() as store:
        members = _gather(store)
        if isinstance(spec, ImageSpec):
            store.stat(spec)  # raises NotFound
    roots = [key for key, member in members.items() if member.parent not in members]
    if isinstance(spec, Room):
        roots = [key for key in roots if key[0] == spec.pool and spec.namespace in ("", key[1])]
    elif spec is not None:
        roots = [_root(members, (spec.pool, spec.namespace, spec.image))]
    if dot:
        sys.stdout.writelines(f"{line}\n" for line in _graph(members, roots))
        return
    if not output.plain:
        output.document([_document(members[key]) for key in _family(members, roots)], "images")
        return
    lines = list(_draw(members, roots, _Strokes.for_stdout()))
    if lines:
        print_table(["NAME", ">SIZE", ">HOLDS", ">ALONE"], lines)


def _gather(store: Store) -> dict[Key, Member]:
    members: dict[Key, Member] = {}
    for pool in store.pools():
        for namespace in ("", *store.namespaces(pool.name)):
            for name in store.images(pool.name, namespace):
                spec = ImageSpec(pool.name, namespace, name)
                stat = store.stat(spec)
                taken = store.snapshots(spec) if stat.snapshot_count else []
                snaps = [Snap(info, store.usage(spec.at(info.name))) for info in taken]
                members[pool.name, namespace, name] = Member(spec, stat, store.usage(spec), snaps)
    by_id = {(key, snap.info.id): snap for key, member in members.items() for snap in member.snapshots}
    for key, member in members.items():
        parent = member.stat.parent
        if parent and member.parent in members and (member.parent, parent.snapshot_id) in by_id:
            by_id[member.parent, parent.snapshot_id].clones.append(key)
    return members


def _root(members: dict[Key, Member], key: Key) -> Key:
    while (parent := members[key].parent) in members:
        assert parent is not None
        key = parent
    return key


def _family(members: dict[Key, Member], roots: list[Key]) -> Iterator[Key]:
    waiting = list(reversed(roots))
    while waiting:
        key = waiting.pop()
        yield key
        waiting += reversed([clone for snap in members[key].snapshots for clone in snap.clones])


def _document(member: Member) -> dict[str, Any]:
    """Flat, with the parent's name, so that chains of any length can be written and read."""
    parent = member.stat.parent
    return {
        "pool": member.spec.pool,
        "pool_namespace": member.spec.namespace,
        "image": member.spec.image,
        "id": member.stat.id,
        "parent": str(parent) if parent else None,
        **_space(member.usage),
        "snapshots": [
            {
                "name": snap.info.name,
                "id": snap.info.id,
                "protected": snap.info.protected,
                **_space(snap.usage),
                "clones": ["/".join(part for part in clone if part) for clone in snap.clones],
            }
            for snap in member.snapshots
        ],
    }


def _space(usage: Usage) -> dict[str, int]:
    return {
        "provisioned_size": usage.provisioned,
        "referenced_size": usage.referenced,
        "exclusive_size": usage.exclusive,
    }


def _graph(members: dict[Key, Member], roots: list[Key]) -> Iterator[str]:
    """In Graphviz's language: images are boxes, snapshots ellipses; dashed lines lead to clones."""
    yield "digraph cowshed {"
    yield "  rankdir=LR;"
    for key in _family(members, roots):
        member = members[key]
        label = _label(str(member.spec), member.usage)
        yield f"  {_quoted(str(member.spec))} [shape=box, label={_quoted(label)}];"
        for snap in member.snapshots:
            name = f"{member.spec}@{snap.info.name}"
            yield f"  {_quoted(name)} [label={_quoted(_label('@' + snap.info.name, snap.usage))}];"
            yield f"  {_quoted(str(member.spec))} -> {_quoted(name)};"
            for clone in snap.clones:
                yield f"  {_quoted(name)} -> {_quoted(str(members[clone].spec))} [style=dashed];"
    yield "}"


def _label(name: str, usage: Usage) -> str:
    return f"{name}\n{format_size(usage.referenced)}, alone {format_size(usage.exclusive)}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@dataclass(frozen=True)
class _Strokes:
    branch: str
    last: str
    through: str

    @classmethod
    def for_stdout(cls) -> _Strokes:
        encoding = (sys.stdout.encoding or "").lower().replace("-", "")
        return cls("├── ", "└── ", "│   ") if encoding == "utf8" else cls("|-- ", "`-- ", "|   ")


def _draw(members: dict[Key, Member], roots: list[Key], strokes: _Strokes) -> Iterator[list[str]]:
    """One row per image and snapshot. With a stack of its own: a chain of clones may be of any length."""
    waiting: list[tuple[str, str, Key | Snap]] = [("", "", key) for key in reversed(roots)]
    while waiting:
        lead, indent, node = waiting.pop()
        if isinstance(node, Snap):
            mark = " (protected)" if node.info.protected else ""
            yield [f"{lead}@{node.info.name}{mark}", *_figures(node.usage)]
            below: list[Key | Snap] = list(node.clones)
        else:
            member = members[node]
            yield [f"{lead}{member.spec}", *_figures(member.usage)]
            below = list(member.snapshots)
        for i, child in enumerate(reversed(below)):
            stroke, rest = (strokes.last, "    ") if i == 0 else (strokes.branch, strokes.through)
            waiting.append((indent + stroke, indent + rest, child))


def _figures(usage: Usage) -> list[str]:
    return [format_size(usage.provisioned), format_size(usage.referenced), format_size(usage.exclusive)]
