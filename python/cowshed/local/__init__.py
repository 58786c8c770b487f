"""The local engine: a store directory on this machine, through the kernel in this process."""

from cowshed.local.store import LocalStore

__all__ = ["LocalStore"]
