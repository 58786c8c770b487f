"""The entry point: answers `--version` at once, and leaves all else to `program`.

Nothing but the standard library's core is imported here: `cowshed --version` must not pay for click.
"""

import sys


def main() -> int:
    """Run the command line of this process and return its exit status."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-v"]):
        from cowshed import __version__

        print(f"cowshed {__version__}")
        return 0
    from cowshed.cli.program import run

    return run(arguments)
