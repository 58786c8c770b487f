"""`python bench`: measure, and print one table of figures, bars and peers."""

from __future__ import annotations

import sys
from pathlib import Path


def start() -> int:
    # As `python bench` this directory is where modules are looked for first; as a package its parent must be.
    here = Path(__file__).resolve().parent
    # The harness of OpenStack's drivers, and the cluster, are the tests'.
    ours = [str(here.parent), str(here.parent / "tests")]
    sys.path[:] = [*ours, *(entry for entry in sys.path if Path(entry).resolve() != here)]
    try:
        import cowshed  # noqa: F401
    except ImportError:
        sys.exit("bench: cowshed is not installed here; `pip install .` first")
    from bench.program import main

    return main()


if __name__ == "__main__":
    sys.exit(start())
