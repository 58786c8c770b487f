"""Images in and out of any store: what joins the formats to the `Store` interface.

Streams are open binary files, pipes or anything of the kind; who opens them closes them.
"""

from cowshed.transfer.diffs import export_diff, import_diff, merge_diff
from cowshed.transfer.export_v2 import export_with_snapshots, import_with_snapshots
from cowshed.transfer.images import export_qcow2, import_image
from cowshed.transfer.raw import export_raw, import_raw

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
