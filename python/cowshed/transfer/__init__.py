"""Images in and out of any store: what joins the formats to the `Store` interface.

Streams are open binary files, pipes or anything of the kind; who opens them closes them.

Names are loaded when they are first used: each backup starts `rbd export-diff`, which has no use for qcow2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cowshed.transfer.diffs import export_diff, import_diff, merge_diff
    from cowshed.transfer.export_v2 import export_with_snapshots, import_with_snapshots
    from cowshed.transfer.images import export_qcow2, import_image
    from cowshed.transfer.raw import export_raw, import_raw

_HOMES = {
    "export_diff": "cowshed.transfer.diffs",
    "export_qcow2": "cowshed.transfer.images",
    "export_raw": "cowshed.transfer.raw",
    "export_with_snapshots": "cowshed.transfer.export_v2",
    "import_diff": "cowshed.transfer.diffs",
    "import_image": "cowshed.transfer.images",
    "import_raw": "cowshed.transfer.raw",
    "import_with_snapshots": "cowshed.transfer.export_v2",
    "merge_diff": "cowshed.transfer.diffs",
}

__all__ = [
    "export_diff",
    "export_qcow2",
    "export_raw",
    "export_with_snapshots",
    "import_diff",
    "import_image",
    "import_raw",
    "import_with_snapshots",
    "merge_diff",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
