"""RBD's configuration keys that pools and images may override: their kinds, defaults and bounds.

From Ceph's src/common/options/rbd.yaml.in, and librbd's own rule for which of them can be overridden. Values
are texts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cowshed.errors import InvalidArgument
from cowshed.store.features import parse_features


class ConfigKey(NamedTuple):
    """What a key takes."""

    kind: str
    """`bool`, `uint`, `size`, `float`, `str`, `features`, or the choices with `|` between them."""
    default: str
    low: int = 0
    image: bool = True
    """Whether an image may override it; else only a pool."""


_YES = {"true": "true", "1": "true", "yes": "true", "false": "false", "0": "false", "no": "false"}
_UNITS = {"": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
_SIZE = re.compile(r"(\d+)_?([BKMGTPE]?)(?:i?B)?", re.IGNORECASE)

_POOL_ONLY = """
rbd_default_clone_format 1|2|auto auto
rbd_default_data_pool str
rbd_default_features features layering,exclusive-lock,object-map,fast-diff,deep-flatten
rbd_default_order uint 22
rbd_default_stripe_count uint 0
rbd_default_stripe_unit size 0
rbd_journal_order uint 24 12
rbd_journal_pool str
rbd_journal_splay_width uint 4
"""

_OF_IMAGES = """
rbd_atime_update_interval uint 60
rbd_balance_parent_reads bool false
rbd_balance_snap_reads bool false
rbd_blkin_trace_all bool false
rbd_blocklist_expire_seconds uint 0
rbd_blocklist_on_break_lock bool true
rbd_cache bool true
rbd_cache_block_writes_upfront bool false
rbd_cache_max_dirty size 25165824
rbd_cache_max_dirty_age float 1.000000
rbd_cache_max_dirty_object uint 0
rbd_cache_policy writethrough|writeback|writearound writearound
rbd_cache_size size 33554432
rbd_cache_target_dirty size 16777216
rbd_cache_writethrough_until_flush bool true
rbd_clone_copy_on_read bool false
rbd_compression_hint none|compressible|incompressible none
rbd_concurrent_management_ops uint 10 1
rbd_default_map_options str
rbd_default_snapshot_quiesce_mode required|ignore-error|skip required
rbd_disable_zero_copy_writes bool true
rbd_discard_granularity_bytes uint 65536 4096
rbd_enable_alloc_hint bool true
rbd_invalidate_object_map_on_timeout bool true
rbd_io_scheduler none|simple simple
rbd_io_scheduler_simple_max_delay uint 0
rbd_journal_commit_age float 5.000000
rbd_journal_max_concurrent_object_sets uint 0
rbd_journal_max_payload_bytes size 16384
rbd_journal_object_flush_age float 0.000000
rbd_journal_object_flush_bytes size 1048576
rbd_journal_object_flush_interval uint 0
rbd_journal_object_max_in_flight_appends uint 0
rbd_journal_object_writethrough_until_flush bool true
rbd_localize_parent_reads bool false
rbd_localize_snap_reads bool false
rbd_mirroring_delete_delay uint 0
rbd_mirroring_max_mirroring_snapshots uint 5 3
rbd_mirroring_replay_delay uint 0
rbd_mirroring_resync_after_disconnect bool false
rbd_move_parent_to_trash_on_remove bool false
rbd_move_to_trash_on_remove bool false
rbd_move_to_trash_on_remove_expire_seconds uint 0
rbd_mtime_update_interval uint 60
rbd_non_blocking_aio bool true
rbd_parent_cache_enabled bool false
rbd_persistent_cache_mode disabled|rwl|ssd disabled
rbd_persistent_cache_path str /tmp
rbd_persistent_cache_size uint 1073741824 1073741824
rbd_plugins str
rbd_qos_bps_burst uint 0
rbd_qos_bps_burst_seconds uint 1 1
rbd_qos_bps_limit uint 0
rbd_qos_exclude_ops uint 0
rbd_qos_iops_burst uint 0
rbd_qos_iops_burst_seconds uint 1 1
rbd_qos_iops_limit uint 0
rbd_qos_read_bps_burst uint 0
rbd_qos_read_bps_burst_seconds uint 1 1
rbd_qos_read_bps_limit uint 0
rbd_qos_read_iops_burst uint 0
rbd_qos_read_iops_burst_seconds uint 1 1
rbd_qos_read_iops_limit uint 0
rbd_qos_schedule_tick_min uint 50 1
rbd_qos_write_bps_burst uint 0
rbd_qos_write_bps_burst_seconds uint 1 1
rbd_qos_write_bps_limit uint 0
rbd_qos_write_iops_burst uint 0
rbd_qos_write_iops_burst_seconds uint 1 1
rbd_qos_write_iops_limit uint 0
rbd_quiesce_notification_attempts uint 10 1
rbd_read_from_replica_policy default|balance|localize default
rbd_readahead_disable_after_bytes size 52428800
rbd_readahead_max_bytes size 524288
rbd_readahead_trigger_requests uint 10
rbd_request_timed_out_seconds uint 30
rbd_skip_partial_discard bool true
rbd_sparse_read_threshold_bytes size 65536
"""


def _parsed(table: str, *, image: bool) -> dict[str, ConfigKey]:
    keys = {}
    for line in table.strip().splitlines():
        name, kind, *rest = line.split()
        keys[name] = ConfigKey(kind, rest[0] if rest else "", int(rest[1]) if len(rest) > 1 else 0, image)
    return keys


CONFIG_KEYS = dict(sorted((_parsed(_POOL_ONLY, image=False) | _parsed(_OF_IMAGES, image=True)).items()))
"""Every key, by name."""

IMAGE_PREFIX = "conf_"
"""Before a key in an image's metadata, as RBD keeps it."""


def check_config(key: str, value: str, *, image: bool) -> str:
    """The value as it is kept. Raises InvalidArgument for a key or value that RBD would refuse."""
    known = config_key(key, image=image)
    refused = InvalidArgument(
        f"{key} does not take {value!r}", hint=f"it takes {known.kind.replace('|', ', ')}"
    )
    match known.kind:
        case "bool":
            kept = _YES.get(value.lower())
        case "uint" | "size":
            kept = _size(value)
        case "float":
            kept = value if re.fullmatch(r"\d+(\.\d*)?", value) else None
        case "features":
            kept = ",".join(parse_features(value))
        case "str":
            kept = value
        case choices:
            kept = value if value in choices.split("|") else None
    if kept is None:
        raise refused
    if known.kind in ("uint", "size") and int(kept) < known.low:
        raise InvalidArgument(f"{key} does not take {value!r}", hint=f"it takes {known.low} or more")
    if key == "rbd_discard_granularity_bytes" and (int(kept) & (int(kept) - 1) or int(kept) > 32 << 20):
        raise InvalidArgument(f"{key} does not take {value!r}", hint="it takes a power of two, up to 32 MiB")
    return kept


def config_key(key: str, *, image: bool) -> ConfigKey:
    """What is known of a key. Raises InvalidArgument for one that cannot be overridden there."""
    known = CONFIG_KEYS.get(key)
    if known is None:
        raise InvalidArgument(
            f"there is no configuration key {key!r}", hint="`cowshed config pool ls rbd` lists them"
        )
    if image and not known.image:
        raise InvalidArgument(f"{key} cannot be set for an image", hint="set it for its pool")
    return known


def _size(value: str) -> str | None:
    found = _SIZE.fullmatch(value)
    return None if found is None else str(int(found[1]) << _UNITS[found[2].upper()])
