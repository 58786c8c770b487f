"""OpenStack's own storage drivers, as published, on cowshed's look-alike of librbd and on a real cluster."""
