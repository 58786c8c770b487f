"""Compare the names of cowshed's modules with those that the real ones have."""

from __future__ import annotations

from typing import Any

# Calls that cowshed leaves out, and why.
LEFT_OUT: dict[str, str] = {
    "rados.Ioctx.create_self_managed_snap": "a pool's own snapshots: cowshed's are of images",
    "rados.Ioctx.remove_self_managed_snap": "a pool's own snapshots: cowshed's are of images",
    "rados.Ioctx.rollback_self_managed_snap": "a pool's own snapshots: cowshed's are of images",
    "rados.Ioctx.set_self_managed_snap_write": "a pool's own snapshots: cowshed's are of images",
}


def missing(real: dict[str, Any], ours: dict[str, Any], kind: str) -> list[str]:
    """Names of a kind (`calls`, `errors`, `constants`) that the real modules have and ours have not."""
    return sorted(name for name in real[kind] if name not in ours[kind] and name not in LEFT_OUT)


def different(real: dict[str, Any], ours: dict[str, Any], kind: str) -> list[str]:
    """What both have, and have differently: `name: ours, not theirs`. Unknown arguments are not compared.

    Ours may take more arguments than the real ones, behind theirs and with defaults: newer librbd does.
    """
    found = []
    for name, theirs in sorted(real[kind].items()):
        if name not in ours[kind]:
            continue
        own = ours[kind][name]
        if kind == "calls":
            if theirs is None or own is None:
                continue
            first, more = own[: len(theirs)], own[len(theirs) :]
            if [_plain(each) for each in first] == [_plain(each) for each in theirs] and all(
                "=" in each for each in more
            ):
                continue
        elif own == theirs:
            continue
        found.append(f"{name}: {own}, not {theirs}")
    return found


def _plain(argument: str) -> str:
    """Constants have their names in one signature and their numbers in another: only that there is a
    default counts.
    """
    name, equals, default = argument.partition("=")
    return (
        argument if default in ("None", "True", "False") or default.lstrip("-").isdigit() else name + equals
    )
