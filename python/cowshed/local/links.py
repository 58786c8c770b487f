"""Which clone came of which snapshot, and which clones hold theirs.

A clone of cowshed's own kind holds nothing: its parent may go, and its link then shows nothing. Clones of
RBD's formats hold their snapshot: with format 1 it stays protected, with format 2 it is kept out of sight
when it is removed.
"""

from __future__ import annotations

from collections.abc import Iterator

from cowshed.local import keys
from cowshed.local.catalog import Change, View
from cowshed.local.stored import Link


def attach(change: Change, link: Link, child: str) -> None:
    """Note that an image, whose record gets this link, is a clone."""
    change.put(keys.child(link.image, link.snapshot, child), str(link.format or "").encode())
    if link.format:
        count(change, link, +1)


def holders(view: View, image_id: str, snapshot_id: int) -> Iterator[tuple[str, int]]:
    """The clones that hold a snapshot, with their formats."""
    for key, value in view.scan(keys.children(image_id, snapshot_id)):
        if value:
            yield keys.last(key), int(value)


def count(change: Change, link: Link, more: int) -> None:
    """Count clones of format 2, and let whoever decided by the parent's clones decide anew."""
    parent = change.image_by_id(link.image)
    if parent is not None:
        clones = parent.clones + (more if link.format == 2 else 0)
        change.put(keys.image(link.image), parent.changed(clones=clones).encode())
