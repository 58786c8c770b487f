"""The name under which programs know cowshed.compat.rados."""

from cowshed.compat.rados import *  # noqa: F403
