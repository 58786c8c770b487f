"""How fast cowshed is, as ratios against what else the machine can do. Run `python bench`."""
