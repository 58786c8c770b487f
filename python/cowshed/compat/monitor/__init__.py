"""What a cluster's monitor would answer, made from a store: for `Rados` and the program `ceph`.

The "cluster" is one monitor and one OSD that are always well; what it holds is the store's. Placement groups,
CRUSH and the like have the plainest values that those who read them accept.

    asking      who asks, and what comes back
    commands    the commands by their names, and `answer`, which looks them up
    space       what is there, and who takes how much of it: df
    pools       osd pool …
    mons        mon dump and its kin
    osds        osd dump, osd tree …
    state       status, health, versions
    settings    config get, auth get-key, osd blocklist
    plain       the same as text, in the words of `ceph`
"""

from cowshed.compat.monitor.asking import MONITOR, VERSION, pools_by_id, store_id
from cowshed.compat.monitor.commands import Answer, answer
from cowshed.compat.monitor.mons import ping
from cowshed.compat.monitor.space import PoolCounts, cluster_stats, pool_counts

__all__ = [
    "MONITOR",
    "VERSION",
    "Answer",
    "PoolCounts",
    "answer",
    "cluster_stats",
    "ping",
    "pool_counts",
    "pools_by_id",
    "store_id",
]
