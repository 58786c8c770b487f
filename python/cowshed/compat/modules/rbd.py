"""The name under which programs know cowshed.compat.rbd."""

from cowshed.compat.rbd import *  # noqa: F403
