"""The menu: every verb, the family that it is listed under, and where it lives.

The one place that a new verb is entered. `--help` is printed from here, so that it loads no verb.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """A verb: `module` under `cowshed.cli.verbs`, and the name of the command in it."""

    module: str
    command: str
    summary: str


FAMILIES: dict[str, dict[str, Entry]] = {
    "Images": {
        "create": Entry("images", "create", "Make an empty image."),
        "ls": Entry("images", "ls", "List the images of a pool."),
        "info": Entry("images", "info", "Show an image, a snapshot or the store."),
        "resize": Entry("images", "resize", "Make an image larger or smaller."),
        "rm": Entry("images", "rm", "Remove an image."),
        "mv": Entry("images", "mv", "Give an image another name."),
    },
    "Snapshots": {
        "snap create": Entry("snapshots", "create", "Take a snapshot, at once at any size."),
        "snap ls": Entry("snapshots", "ls", "List an image's snapshots."),
        "snap rm": Entry("snapshots", "rm", "Remove a snapshot."),
        "snap purge": Entry("snapshots", "purge", "Remove all snapshots of an image."),
        "snap rename": Entry("snapshots", "rename", "Give a snapshot another name."),
        "snap protect": Entry("snapshots", "protect", "Keep a snapshot from being removed."),
        "snap unprotect": Entry("snapshots", "unprotect", "Allow a snapshot to be removed again."),
        "snap rollback": Entry("snapshots", "rollback", "Give an image its snapshot's content."),
    },
    "Clones": {
        "clone": Entry("clones", "clone", "Make an image with a snapshot's content."),
        "flatten": Entry("clones", "flatten", "Make a clone forget its parent."),
        "children": Entry("clones", "children", "List the clones of a snapshot or image."),
    },
    "Content": {
        "import": Entry("transfer", "import_", "Make an image from a file or stdin."),
        "export": Entry("transfer", "export", "Write an image to a file or stdout."),
        "diff": Entry("diffs", "diff", "List what changed since a snapshot."),
        "export-diff": Entry("diffs", "export_diff", "Write what changed to a file or stdout."),
        "import-diff": Entry("diffs", "import_diff", "Apply a diff to an image."),
        "bench": Entry("bench", "bench", "Measure reads and writes on an image."),
    },
    "Space": {
        "du": Entry("space", "du", "Show the space that images take."),
        "tree": Entry("tree", "tree", "Show the family of images, snapshots and clones."),
        "reclaim": Entry("space", "reclaim", "Return freed space to the file system now."),
    },
    "Store": {
        "init": Entry("store", "init", "Make a store and its first pool."),
        "pool create": Entry("pools", "create", "Make a pool."),
        "pool ls": Entry("pools", "ls", "List the pools."),
        "pool rm": Entry("pools", "rm", "Remove an empty pool."),
        "pool stats": Entry("pools", "stats", "Show a pool's counts and sizes."),
        "check": Entry("store", "check", "Verify the whole store."),
        "demo": Entry("demo", "demo", "Walk the snapshot story on a real disk image."),
    },
}

GROUPS = {
    "snap": "Snapshots of an image.",
    "pool": "Pools, which hold images.",
}

ALIASES = {
    "list": "ls",
    "remove": "rm",
    "rename": "mv",
    "disk-usage": "du",
    "snap add": "snap create",
    "snap list": "snap ls",
    "snap remove": "snap rm",
    "snap revert": "snap rollback",
    "pool list": "pool ls",
    "pool remove": "pool rm",
    "pool delete": "pool rm",
    "pool stat": "pool stats",
}
"""Other names of verbs, as rbd(8) has them; not listed."""

VERBS = {name: entry for family in FAMILIES.values() for name, entry in family.items()}
