"""The commands by their names."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable

from cowshed.compat.conf import Conf
from cowshed.compat.monitor import mons, osds, pools, settings, space, state
from cowshed.compat.monitor.asking import Asker, Fields, Made, Refused
from cowshed.compat.monitor.plain import plain
from cowshed.store import Store

Answer = tuple[int, bytes, str]
"""0 or `-errno`; what is answered; what is said besides."""


def answer(store: Store, conf: Conf, command: str, unknown: str = "command not known") -> Answer:
    """Answer a command as the monitor does: JSON with `prefix`, its arguments, and maybe `format`.

    CowshedErrors of the store are raised; what the command itself refuses is answered, and `unknown` (`{}`
    for its name) to one that there is not.
    """
    try:
        asked = json.loads(command)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        return -errno.EINVAL, b"", f"unparseable JSON {command}"
    prefix = asked.get("prefix")
    if not isinstance(prefix, str):
        return -errno.EINVAL, b"", "command prefix not found"
    make = _COMMANDS.get(prefix)
    if make is None:
        return -errno.EINVAL, b"", unknown.format(prefix)
    try:
        found, said = make(Asker(store, conf), asked)
    except Refused as refused:
        return -refused.number, b"", refused.said
    if found is None:
        return 0, b"", said
    if asked.get("format") in ("json", "json-pretty"):
        pretty = asked["format"] == "json-pretty"
        text = json.dumps(found, indent=4 if pretty else None, separators=None if pretty else (",", ":"))
    else:
        text = plain(prefix, found)
    return 0, f"{text}\n".encode(), said


_COMMANDS: dict[str, Callable[[Asker, Fields], Made]] = {
    "df": space.df,
    "osd pool get-quota": pools.quota,
    "osd pool ls": pools.ls,
    "osd lspools": pools.lspools,
    "osd pool get": pools.get,
    "osd pool stats": pools.stats,
    "osd pool create": pools.create,
    "osd pool rm": pools.remove,
    "osd pool delete": pools.remove,
    "osd pool application get": pools.application,
    "osd pool application enable": pools.enable_application,
    "mon dump": mons.dump,
    "mon stat": mons.stat,
    "mon versions": state.versions_of_one,
    "quorum_status": mons.quorum_status,
    "fsid": state.fsid,
    "status": state.status,
    "health": state.health,
    "pg stat": state.pg_stat,
    "osd dump": osds.dump,
    "osd stat": osds.stat,
    "osd ls": osds.ls,
    "osd df": osds.df,
    "osd tree": osds.tree,
    "osd versions": state.versions_of_one,
    "versions": state.versions,
    "version": state.version,
    "config get": settings.config_get,
    "auth get": settings.auth_get,
    "auth get-key": settings.auth_get_key,
    "auth print-key": settings.auth_get_key,
    "auth print_key": settings.auth_get_key,
    "osd blocklist ls": settings.blocklist,
    "osd blacklist ls": settings.blocklist,
    "osd blocklist": settings.blocklist_add,
    "osd blacklist": settings.blocklist_add,
}
