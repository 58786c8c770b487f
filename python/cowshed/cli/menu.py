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
        "cp": Entry("copies", "cp", "Copy an image's or snapshot's content."),
        "deep cp": Entry("copies", "deep_cp", "Copy an image with its snapshots."),
        "resize": Entry("images", "resize", "Make an image larger or smaller."),
        "rm": Entry("images", "rm", "Remove an image."),
        "mv": Entry("images", "mv", "Give an image another name."),
        "status": Entry("locks", "status", "Show who has an image open."),
        "feature enable": Entry("settings", "feature_enable", "Switch features of an image on."),
        "feature disable": Entry("settings", "feature_disable", "Switch features of an image off."),
        "image-meta ls": Entry("settings", "meta_ls", "List an image's metadata."),
        "image-meta get": Entry("settings", "meta_get", "Print a metadata value."),
        "image-meta set": Entry("settings", "meta_set", "Set a metadata value."),
        "image-meta rm": Entry("settings", "meta_rm", "Remove a metadata key."),
        "migration prepare": Entry("copies", "prepare", "Begin to move an image."),
        "migration execute": Entry("copies", "execute", "Do what a move needs."),
        "migration commit": Entry("copies", "commit", "End a move."),
        "migration abort": Entry("copies", "abort", "Take a move back."),
    },
    "Snapshots": {
        "snap create": Entry("snapshots", "create", "Take a snapshot, at once at any size."),
        "snap ls": Entry("snapshots", "ls", "List an image's snapshots."),
        "snap rm": Entry("snapshots", "rm", "Remove a snapshot."),
        "snap purge": Entry("snapshots", "purge", "Remove all snapshots of an image."),
        "snap rename": Entry("snapshots", "rename", "Give a snapshot another name."),
        "snap protect": Entry("snapshots", "protect", "Keep a snapshot from being removed."),
        "snap unprotect": Entry("snapshots", "unprotect", "Allow a snapshot to be removed again."),
        "snap limit set": Entry("snapshots", "limit_set", "Limit an image's snapshots."),
        "snap limit clear": Entry("snapshots", "limit_clear", "Limit them no more."),
        "snap rollback": Entry("snapshots", "rollback", "Give an image its snapshot's content."),
    },
    "Clones": {
        "clone": Entry("clones", "clone", "Make an image with a snapshot's content."),
        "flatten": Entry("clones", "flatten", "Make a clone forget its parent."),
        "children": Entry("clones", "children", "List the clones of a snapshot or image."),
    },
    "Groups": {
        "group create": Entry("groups", "create", "Make a group of images."),
        "group ls": Entry("groups", "ls", "List the groups of a pool."),
        "group info": Entry("groups", "info", "Show a group."),
        "group rename": Entry("groups", "rename", "Give a group another name."),
        "group rm": Entry("groups", "rm", "Remove a group; its images stay."),
        "group image add": Entry("groups", "image_add", "Add an image to a group."),
        "group image ls": Entry("groups", "image_ls", "List the images of a group."),
        "group image rm": Entry("groups", "image_rm", "Take an image out of a group."),
        "group snap create": Entry("groups", "snap_create", "Take a snapshot of all members at once."),
        "group snap ls": Entry("groups", "snap_ls", "List a group's snapshots."),
        "group snap rename": Entry("groups", "snap_rename", "Give a group's snapshot another name."),
        "group snap rm": Entry("groups", "snap_rm", "Remove a group's snapshot."),
        "group snap rollback": Entry("groups", "snap_rollback", "Give all members their content of then."),
    },
    "Trash": {
        "trash mv": Entry("trash", "mv", "Move an image to the trash."),
        "trash ls": Entry("trash", "ls", "List the trash."),
        "trash restore": Entry("trash", "restore", "Give an image in the trash its name again."),
        "trash rm": Entry("trash", "rm", "Remove an image from the trash."),
        "trash purge": Entry("trash", "purge", "Remove what has expired."),
    },
    "Locks": {
        "lock ls": Entry("locks", "ls", "List who holds an image's lock."),
        "lock add": Entry("locks", "add", "Take an image's advisory lock."),
        "lock rm": Entry("locks", "rm", "Take the lock from its holder."),
    },
    "Content": {
        "import": Entry("transfer", "import_", "Make an image from a file or stdin."),
        "export": Entry("transfer", "export", "Write an image to a file or stdout."),
        "diff": Entry("diffs", "diff", "List what changed since a snapshot."),
        "export-diff": Entry("diffs", "export_diff", "Write what changed to a file or stdout."),
        "import-diff": Entry("diffs", "import_diff", "Apply a diff to an image."),
        "merge-diff": Entry("diffs", "merge_diff", "Make one diff of two."),
        "bench": Entry("bench", "bench", "Measure reads and writes on an image."),
    },
    "Space": {
        "du": Entry("space", "du", "Show the space that images take."),
        "tree": Entry("tree", "tree", "Show the family of images, snapshots and clones."),
        "why": Entry("why", "why", "Say what keeps an image, a snapshot or space."),
        "sparsify": Entry("copies", "sparsify", "Return the space of zeros."),
        "reclaim": Entry("space", "reclaim", "Return freed space to the file system now."),
    },
    "Store": {
        "init": Entry("store", "init", "Make a store and its first pool."),
        "pool create": Entry("pools", "create", "Make a pool."),
        "pool ls": Entry("pools", "ls", "List the pools."),
        "pool rm": Entry("pools", "rm", "Remove an empty pool."),
        "pool stats": Entry("pools", "stats", "Show a pool's counts and sizes."),
        "namespace create": Entry("namespaces", "create", "Make a namespace in a pool."),
        "namespace ls": Entry("namespaces", "ls", "List a pool's namespaces."),
        "namespace rm": Entry("namespaces", "rm", "Remove an empty namespace."),
        "config pool ls": Entry("settings", "pool_ls", "List a pool's configuration."),
        "config pool get": Entry("settings", "pool_get", "Print a pool's configuration key."),
        "config pool set": Entry("settings", "pool_set", "Set a pool's configuration key."),
        "config pool rm": Entry("settings", "pool_rm", "Set it no more."),
        "config image ls": Entry("settings", "image_ls", "List an image's configuration."),
        "config image get": Entry("settings", "image_get", "Print an image's configuration key."),
        "config image set": Entry("settings", "image_set", "Set an image's configuration key."),
        "config image rm": Entry("settings", "image_rm", "Set it no more."),
        "mirror pool info": Entry("mirror", "pool_info", "Show that a pool is not mirrored."),
        "mirror image status": Entry("mirror", "image_status", "Say that an image is not mirrored."),
        "check": Entry("store", "check", "Verify the whole store."),
        "completion": Entry("completion", "completion", "Print the script for completion in a shell."),
        "demo": Entry("demo", "demo", "Walk the snapshot story on a real disk image."),
    },
}

GROUPS = {
    "snap": "Snapshots of an image.",
    "snap limit": "How many snapshots an image may have.",
    "deep": "Copies with snapshots.",
    "feature": "RBD's features of an image.",
    "image-meta": "Metadata of an image.",
    "migration": "Moves of an image to another name or pool.",
    "group": "Groups of images, and snapshots of all of them at once.",
    "group image": "The images of a group.",
    "group snap": "Snapshots of a group.",
    "trash": "Removed images that can be restored.",
    "lock": "Advisory locks on images.",
    "namespace": "Namespaces in a pool.",
    "config": "RBD's configuration keys.",
    "mirror": "RBD's mirroring, which is disabled.",
    "mirror pool": "Mirroring of a pool.",
    "mirror image": "Mirroring of an image.",
    "config pool": "Configuration of a pool.",
    "config image": "Configuration of an image.",
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
    "copy": "cp",
    "deep copy": "deep cp",
    "namespace list": "namespace ls",
    "namespace remove": "namespace rm",
    "trash move": "trash mv",
    "trash list": "trash ls",
    "trash remove": "trash rm",
    "lock list": "lock ls",
    "lock remove": "lock rm",
    "image-meta list": "image-meta ls",
    "image-meta remove": "image-meta rm",
    "config pool list": "config pool ls",
    "config pool remove": "config pool rm",
    "config image list": "config image ls",
    "config image remove": "config image rm",
    "group list": "group ls",
    "group remove": "group rm",
    "group image list": "group image ls",
    "group image remove": "group image rm",
    "group snap list": "group snap ls",
    "group snap remove": "group snap rm",
}
"""Other names of verbs, as rbd(8) has them; not listed."""

VERBS = {name: entry for family in FAMILIES.values() for name, entry in family.items()}
