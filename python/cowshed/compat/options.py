"""The configuration keys that a client of a cluster knows: their kinds and defaults.

Those of RBD are `cowshed.store.config`'s. The others are kept, and of no meaning here but `cowshed`,
`mon_host`, `key`, `keyring` and the timeouts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from cowshed.errors import InvalidArgument
from cowshed.store.config import CONFIG_KEYS, check_config

_BOOLS = {"true": "true", "1": "true", "yes": "true", "false": "false", "0": "false", "no": "false"}


class Option(NamedTuple):
    """What a key takes, and what holds where nobody set it."""

    kind: str
    """`bool`, `int`, `float`, `str`, or `rbd` for one of RBD's keys."""
    default: str

    def taken(self, key: str, value: str) -> str:
        """The value as it is kept. Raises InvalidArgument for one that the key does not take."""
        match self.kind:
            case "rbd":
                return check_config(key, value, image=False)
            case "bool":
                kept = _BOOLS.get(value.lower())
            case "int":
                kept = str(int(value)) if re.fullmatch(r"[+-]?\d+", value) else None
            case "float":
                kept = value if re.fullmatch(r"[+-]?\d+(\.\d*)?", value) else None
            case _:
                kept = value
        if kept is None:
            raise InvalidArgument(f"{key} does not take {value!r}", hint=f"it is a {self.kind}")
        return kept


_KEYRINGS = ("$cluster.$name.keyring", "$cluster.keyring", "keyring", "keyring.bin")

_CLIENT = """
admin_socket str
auth_client_required str cephx, none
auth_cluster_required str cephx
auth_service_required str cephx
auth_supported str
client_mount_timeout int 300
cluster_network str
cowshed str
debug_auth str 1/5
debug_client str 0/5
debug_monc str 0/10
debug_ms str 0/0
debug_objecter str 0/1
debug_rados str 0/5
debug_rbd str 0/5
err_to_stderr bool false
fsid str
key str
keyfile str
log_file str
log_max_recent int 500
log_to_file bool true
log_to_stderr bool true
log_to_syslog bool false
mon_client_hunt_interval float 3.000000
mon_client_hunt_interval_max_multiple float 10.000000
mon_client_ping_interval float 10.000000
mon_client_ping_timeout float 30.000000
mon_dns_srv_name str ceph-mon
mon_host str
mon_host_override str
monmap str
ms_bind_ipv4 bool true
ms_bind_ipv6 bool false
ms_type str async+posix
objecter_inflight_op_bytes int 104857600
objecter_inflight_ops int 1024
objecter_tick_interval float 5.000000
osd_pool_default_size int 3
public_network str
rados_mon_op_timeout int 0
rados_osd_op_timeout int 0
run_dir str /var/run/ceph
"""


def _options() -> dict[str, Option]:
    found = {name: Option("rbd", key.default) for name, key in CONFIG_KEYS.items()}
    for line in _CLIENT.strip().splitlines():
        name, kind, *rest = line.split(maxsplit=2)
        found[name] = Option(kind, rest[0] if rest else "")
    found["keyring"] = Option("str", "".join(f"/etc/ceph/{name}," for name in _KEYRINGS))
    return found


OPTIONS = _options()
"""Every known key in its normal form, by name."""


def option(key: str) -> Option | None:
    """What is known of a key in its normal form."""
    return OPTIONS.get(key)
