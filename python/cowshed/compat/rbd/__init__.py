"""The module `rbd` as librbd's Python binding has it, on a store."""

from cowshed.compat.rbd.constants import *  # noqa: F403
from cowshed.compat.rbd.errors import *  # noqa: F403
