"""Images in and out of any store: what joins the formats to the `Store` interface.

Streams are open binary files, pipes or anything of the kind; who opens them closes them.
"""

from cowshed.transfer.diffs import export_diff, import_diff
from cowshed.transfer.raw import export_raw, import_raw

__all__ = ["export_diff", "export_raw", "import_diff", "import_raw"]
