"""A monitor's answers as text for people, in the words of `ceph`."""

from __future__ import annotations

import json
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def plain(prefix: str, found: Any) -> str:
    """The text for what the command `prefix` answered; JSON where it has no other."""
    match prefix:
        case "fsid":
            return str(found["fsid"])
        case "auth get":
            return str(found).rstrip("\n")
        case "auth get-key" | "auth print-key" | "auth print_key":
            return str(found["key"])
        case "health":
            return str(found["status"])
        case "version":
            return str(found["version"])
        case "osd tree":
            return _osd_tree(found)
        case "osd stat":
            return (
                f"{found['num_osds']} osds: {found['num_up_osds']} up, {found['num_in_osds']} in; epoch: e1"
            )
        case "pg stat":
            return _pg_stat(found["pg_summary"])
        case "osd pool stats":
            return "\n\n".join(
                f"pool {pool['pool_name']} id {pool['pool_id']}\n  nothing is going on" for pool in found
            )
        case "osd ls":
            return "\n".join(map(str, found))
        case "osd pool ls":
            return "\n".join(name if isinstance(name, str) else _pool(name) for name in found)
        case "osd lspools":
            return "\n".join(f"{pool['poolnum']} {pool['poolname']}" for pool in found)
        case "osd pool get":
            shown = {key: value for key, value in found.items() if key not in ("pool", "pool_id")}
            return "\n".join(f"{key}: {value}" for key, value in shown.items())
        case "osd pool get-quota":
            name = found["pool_name"]
            return f"quotas for pool '{name}':\n  max objects: N/A\n  max bytes  : N/A"
        case "config get":
            return str(found)
        case "mon dump":
            return _mon_dump(found)
        case "df":
            return _df(found)
        case "status":
            return _status(found)
        case _:
            return json.dumps(found, indent=4)


def size(bytes_: int) -> str:
    """As `ceph` shows sizes: `1.5 GiB`."""
    number, unit = float(bytes_), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    shown = f"{number:.0f}" if number >= 100 or number == int(number) else f"{number:.2g}"
    return f"{shown} {_UNITS[unit]}"


def _pool(pool: dict[str, Any]) -> str:
    return (
        f"pool {pool['pool_id']} '{pool['pool_name']}' replicated size {pool['size']}"
        f" min_size {pool['min_size']} crush_rule 0 object_hash rjenkins pg_num {pool['pg_num']}"
        f" pgp_num {pool['pg_placement_num']} autoscale_mode off last_change {pool['last_change']}"
        f" flags {pool['flags_names']} stripe_width 0 application rbd"
    )


def _mon_dump(found: dict[str, Any]) -> str:
    lines = [
        f"epoch {found['epoch']}",
        f"fsid {found['fsid']}",
        f"last_changed {found['modified'].replace('Z', '+0000')}",
        f"created {found['created'].replace('Z', '+0000')}",
        f"min_mon_release {found['min_mon_release']} ({found['min_mon_release_name']})",
        f"election_strategy: {found['election_strategy']}",
    ]
    lines += [f"{mon['rank']}: v1:{mon['addr']} mon.{mon['name']}" for mon in found["mons"]]
    return "\n".join(lines)


def _df(found: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [("CLASS", "SIZE", "AVAIL", "USED", "RAW USED", "%RAW USED")]
    for name, each in [*found["stats_by_class"].items(), ("TOTAL", found["stats"])]:
        used = size(each["total_used_bytes"])
        ratio = f"{100 * each['total_used_raw_ratio']:.2f}"
        rows.append((name, size(each["total_bytes"]), size(each["total_avail_bytes"]), used, used, ratio))
    pools: list[tuple[str, ...]] = [("POOL", "ID", "PGS", "STORED", "OBJECTS", "USED", "%USED", "MAX AVAIL")]
    for pool in found["pools"]:
        stats = pool["stats"]
        pools.append(
            (
                pool["name"],
                str(pool["id"]),
                "1",
                size(stats["stored"]),
                str(stats["objects"]),
                size(stats["bytes_used"]),
                f"{100 * stats['percent_used']:.2f}".removesuffix(".00"),
                size(stats["max_avail"]),
            )
        )
    return "\n".join(["--- RAW STORAGE ---", *_table(rows), " ", "--- POOLS ---", *_table(pools)])


def _status(found: dict[str, Any]) -> str:
    osds, sums = found["osdmap"], found["pgmap"]
    used, room, total = (size(sums[name]) for name in ("bytes_used", "bytes_avail", "bytes_total"))
    return "\n".join(
        [
            "  cluster:",
            f"    id:     {found['fsid']}",
            f"    health: {found['health']['status']}",
            " ",
            "  services:",
            "    mon: 1 daemons, quorum a",
            "    mgr: a(active)",
            f"    osd: {osds['num_osds']} osds: {osds['num_up_osds']} up, {osds['num_in_osds']} in",
            " ",
            "  data:",
            f"    pools:   {sums['num_pools']} pools, {sums['num_pgs']} pgs",
            f"    objects: {sums['num_objects']} objects, {size(sums['data_bytes'])}",
            f"    usage:   {used} used, {room} / {total} avail",
            f"    pgs:     {sums['num_pgs']} active+clean",
            " ",
        ]
    )


def _pg_stat(found: dict[str, Any]) -> str:
    count = found["num_pgs"]
    names = ("num_bytes", "total_used_bytes", "total_avail_bytes", "total_bytes")
    data, used, room, total = (size(found[name]) for name in names)
    return f"{count} pgs: {count} active+clean; {data} data, {used} used, {room} / {total} avail"


def _osd_tree(found: dict[str, Any]) -> str:
    root, host, osd = found["nodes"]
    lines = [f"{'ID':<2}  {'CLASS':>5}  {'WEIGHT':<7}  {'TYPE NAME':<22}  STATUS  REWEIGHT  PRI-AFF"]
    for node, inset in ((root, ""), (host, "    ")):
        name = f"{inset}{node['type']} {node['name']}"
        lines.append(f"{node['id']:>2}  {'':5}  {osd['crush_weight']:.5f}  {name}")
    name = f"        {osd['name']}"
    lines.append(
        f"{osd['id']:>2}  {osd['device_class']:>5}  {osd['crush_weight']:.5f}  {name:<22}"
        f"  {osd['status']:>6}  {osd['reweight']:>8.5f}  {osd['primary_affinity']:>7.5f}"
    )
    return "\n".join(lines)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows with their first column to the left, the others to the right."""
    wide = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(wide[0]), *(cell.rjust(wide[at]) for at, cell in enumerate(row) if at)])
        for row in rows
    ]
