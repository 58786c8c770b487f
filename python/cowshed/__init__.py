"""Cowshed: a copy-on-write store for virtual-machine disks, with the meaning of Ceph RBD.

`open` and `init` are the way in; what they return is described in `cowshed.store`. Names are loaded when
they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cowshed.errors import CowshedError
    from cowshed.opening import init, open
    from cowshed.store import Image, ImageSpec, SnapSpec, Store

__version__ = "0.1.0"

_HOMES = {
    "CowshedError": "cowshed.errors",
    "Image": "cowshed.store",
    "ImageSpec": "cowshed.store",
    "SnapSpec": "cowshed.store",
    "Store": "cowshed.store",
    "init": "cowshed.opening",
    "open": "cowshed.opening",
}

__all__ = [
    "CowshedError",
    "Image",
    "ImageSpec",
    "SnapSpec",
    "Store",
    "__version__",
    "init",
    "open",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'cowshed' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
