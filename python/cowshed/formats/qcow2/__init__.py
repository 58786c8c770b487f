"""qcow2, versions 2 and 3, as QEMU's docs/interop/qcow2 has it: read whole, written plain.

Images come from anywhere, so the reader takes nothing on trust: every offset and length is checked before
it is used; memory is bounded by a few clusters for each file of a chain; and the time by the length of the
files, because no byte of a file is read twice (`file.Budget`).
"""

from cowshed.formats.qcow2.sink import Qcow2Sink
from cowshed.formats.qcow2.snapshots import Snapshot, snapshots_of
from cowshed.formats.qcow2.source import Qcow2Source

__all__ = ["Qcow2Sink", "Qcow2Source", "Snapshot", "snapshots_of"]
