"""why: what keeps an image or a snapshot from being removed, and its space from being freed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from cowshed.cli.command import verb
from cowshed.cli.output import Output, takes_format
from cowshed.cli.places import image_or_snapshot, takes
from cowshed.cli.session import Session
from cowshed.cli.sizes import format_size
from cowshed.store import ImageSpec, SnapSpec, Store

_SHOWN = 5
"""Names shown of many."""


@dataclass(frozen=True)
class Reason:
    """One thing that is in the way, and the command that takes it away."""

    what: str
    command: str


@verb(
    "why",
    examples="""
    cowshed why debian
    cowshed why debian@golden
    """,
)
@takes(image_or_snapshot())
@takes_format
@click.pass_obj
def why(session: Session, spec: ImageSpec | SnapSpec, output: Output) -> None:
    """Say what keeps an image or a snapshot from being removed, or its space from being freed, and what to
    do.
    """
    with session.open() as store:
        if isinstance(spec, SnapSpec):
            removal, notes = _of_snapshot(store, spec), _space_of_snapshot(store, spec)
            command = f"cowshed snap rm {spec}"
        else:
            removal, notes = _of_image(store, spec), _space_of_image(store, spec)
            command = f"cowshed rm {spec}"
        usage = store.usage(spec)
        pending = store.store_usage().reclaim_pending
    if pending:
        notes.append(Reason("space of things removed before is still being returned", "cowshed reclaim"))
    if not output.plain:
        output.document(
            {
                "spec": str(spec),
                "removable": not removal,
                "removal": [_document(reason) for reason in removal],
                "referenced_size": usage.referenced,
                "exclusive_size": usage.exclusive,
                "space": [_document(reason) for reason in notes],
            },
            "why",
        )
        return
    if removal:
        print(f"{spec} cannot be removed now:")
        _print(removal)
    else:
        print(f"{spec} can be removed: {command}")
    alone = format_size(usage.exclusive)
    print(f"It refers to {format_size(usage.referenced)}; removing it alone would free {alone}.")
    if notes:
        _print(notes)


def _document(reason: Reason) -> dict[str, Any]:
    return {"reason": reason.what, "command": reason.command}


def _print(reasons: list[Reason]) -> None:
    for reason in reasons:
        print(f"  - {reason.what}\n      {reason.command}")


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _of_image(store: Store, spec: ImageSpec) -> list[Reason]:
    reasons = []
    stat = store.stat(spec)
    if stat.group:
        reasons.append(
            Reason(f"it belongs to the group {stat.group}", f"cowshed group image rm {stat.group} {spec}")
        )
    taken = store.snapshots(spec, all_namespaces=True)
    own = [s for s in taken if s.namespace == "user"]
    if own:
        names = _some([s.name for s in own])
        reasons.append(
            Reason(f"it has {_count(len(own), 'snapshot')}: {names}", f"cowshed snap purge {spec}")
        )
    for protected in [s for s in own if s.protected][:_SHOWN]:
        reasons += _of_snapshot(store, spec.at(protected.name))
    in_groups = sorted({s.group for s in taken if s.group})
    reasons += [
        Reason(f"a snapshot of it is a part of {name}", f"cowshed group snap rm {name}") for name in in_groups
    ]
    kept = [s for s in taken if s.namespace == "trash"]
    if kept:
        children = [
            child for child in store.children(spec) if child.snapshot in {s.original_name for s in kept}
        ]
        reasons.append(
            Reason(
                f"clones of format 2 keep {_count(len(kept), 'removed snapshot')} of it: "
                + _some([str(child) for child in children]),
                f"cowshed flatten {children[0]}" if children else f"cowshed children {spec}",
            )
        )
    return reasons


def _of_snapshot(store: Store, spec: SnapSpec) -> list[Reason]:
    stat = store.stat(spec)
    if not stat.protected:
        return []
    reasons = [Reason(f"{spec} is protected", f"cowshed snap unprotect {spec}")]
    holding = [child for child in store.children(spec) if child.clone_format == 1]
    if holding:
        names = _some([str(child) for child in holding])
        reasons.insert(
            0,
            Reason(
                f"{_count(len(holding), 'clone')} of format 1 keep it protected: {names}",
                f"cowshed flatten {holding[0]}",
            ),
        )
    return reasons


def _space_of_image(store: Store, spec: ImageSpec) -> list[Reason]:
    usage = store.usage(spec)
    shared = usage.referenced - usage.exclusive
    if not shared:
        return []
    return [
        Reason(
            f"{format_size(shared)} of that it shares with {_sharers(store, spec)}", f"cowshed tree {spec}"
        )
    ]


def _space_of_snapshot(store: Store, spec: SnapSpec) -> list[Reason]:
    usage = store.usage(spec)
    shared = usage.referenced - usage.exclusive
    if not shared:
        return []
    clones = store.children(spec)
    others = f" and {_count(len(clones), 'clone')}" if clones else ""
    return [
        Reason(
            f"{format_size(shared)} of that its image, other snapshots{others} refer to as well",
            f"cowshed tree {spec.image_spec}",
        )
    ]


def _sharers(store: Store, spec: ImageSpec) -> str:
    stat = store.stat(spec)
    found = []
    if stat.snapshot_count:
        found.append(f"its {_count(stat.snapshot_count, 'snapshot')}")
    if stat.parent:
        found.append(f"its parent {stat.parent}")
    return " and ".join(found) or "images that were copied or cloned from the same"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
