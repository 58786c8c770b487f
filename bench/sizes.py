"""How large everything is that is measured: in full, and only to try that it runs."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40


@dataclass(frozen=True, slots=True)
class Sizes:
    # control, opening
    mapped: int = 16 * GIB
    """The image with every block mapped."""
    few: int = 10
    many: int = 100_000
    """Snapshots that are there."""
    control_rounds: int = 60
    slow_rounds: int = 9
    """For peers that take long."""
    opening_rounds: int = 15
    kills: int = 5
    # io
    disk: int = GIB
    writes: int = 20_000
    write_rounds: int = 9
    reads: int = 20_000
    read_rounds: int = 15
    depth: int = 100
    depth_writes: int = 256
    """Blocks written at each level."""
    depth_rounds: int = 41
    peer_writes: int = 2_000
    peer_depth: int = 50
    # churn
    snapshots: int = 10_000
    step_writes: int = 8
    # diffs
    huge: int = TIB
    changed: int = 1_000
    unchanged: int = 20_000
    """Blocks mapped that no diff may look at."""
    diff_rounds: int = 31
    # listing
    listed_images: int = 100_000
    listed_snapshots: int = 10_000
    family: int = 1_000
    family_blocks: int = 500_000
    # transfer
    raw: int = 4 * GIB
    transfer_rounds: int = 5
    # nbd
    fio_seconds: int = 2
    fio_rounds: int = 5
    held_back: int = 200
    exports: int = 1_000
    busy_exports: int = 100
    # cli
    calls: int = 10
    # openstack
    cloud_image: int = GIB
    cloud_changed: int = 64 * MIB
    """What a differential backup finds, in pieces of 1 MiB."""
    cloud_rounds: int = 5
    cloud_calls: int = 9
    """Rounds of control operations."""
    cluster_room: int = 6 * GIB
    """The file of the cluster's OSD."""

    @property
    def room(self) -> int:
        """Bytes of disk that a run takes at most."""
        return max(2 * self.mapped + 3 * GIB, self.mapped + 4 * self.raw + GIB)


FULL = Sizes()
QUICK = Sizes(
    mapped=256 * MIB,
    many=1_000,
    control_rounds=15,
    slow_rounds=3,
    opening_rounds=5,
    kills=3,
    disk=64 * MIB,
    writes=2_000,
    write_rounds=5,
    reads=10_000,
    read_rounds=11,
    depth_writes=32,
    depth_rounds=11,
    peer_writes=500,
    peer_depth=10,
    snapshots=1_000,
    unchanged=2_000,
    diff_rounds=7,
    listed_images=2_000,
    listed_snapshots=500,
    family=100,
    family_blocks=20_000,
    raw=128 * MIB,
    transfer_rounds=3,
    fio_seconds=1,
    fio_rounds=1,
    held_back=20,
    exports=50,
    busy_exports=5,
    calls=3,
    cloud_image=64 * MIB,
    cloud_changed=8 * MIB,
    cloud_rounds=2,
    cloud_calls=3,
)


def text(size: int) -> str:
    """`16 GiB`."""
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (1024, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} B"
