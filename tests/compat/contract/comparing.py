"""Compare the names of cowshed's modules with those that the real ones have."""

from __future__ import annotations

from typing import Any

# Calls that cowshed leaves out, and why.
LEFT_OUT: dict[str, str] = {
    "rados.Ioctx.aio_execute": "classes of code that an OSD runs are Ceph's own",
    "rados.Ioctx.aio_notify": "watching and notifying are not supported",
    "rados.Watch.check": "watching and notifying are not supported",
    "rados.Watch.close": "watching and notifying are not supported",
    "rados.Watch.get_id": "watching and notifying are not supported",
    "rados.Rados.monitor_log": "there is no cluster log",
    "rados.Rados.monitor_log2": "there is no cluster log",
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
            theirs = [_plain(each, real["constants"]) for each in theirs]
            first, more = own[: len(theirs)], own[len(theirs) :]
            if first == theirs and all("=" in each for each in more):
                continue
        elif own == theirs:
            continue
        found.append(f"{name}: {own}, not {theirs}")
    return found


def _plain(argument: str, constants: dict[str, int]) -> str:
    """A default that has a constant's name, as its number."""
    name, equals, default = argument.partition("=")
    for module in ("rbd", "rados"):
        default = str(constants.get(f"{module}.{default}", default))
    return name + equals + default
