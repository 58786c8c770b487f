"""init and check: the store as a whole."""

from __future__ import annotations

import os
import sys

import click

from cowshed.cli.command import verb
from cowshed.cli.output import Output, takes_format
from cowshed.cli.session import Session
from cowshed.errors import StoreDamaged
from cowshed.store import DEFAULT_POOL


@verb(
    "init",
    examples="""
    cowshed init ~/cows
    cowshed --store ~/cows init
    """,
)
@click.argument("directory", required=False, metavar="[DIR]")
@click.pass_obj
def init(session: Session, directory: str | None) -> None:
    """Make a store in a new or empty directory, with its first pool, `rbd`."""
    from cowshed.opening import init as make

    target = directory or session.target
    make(target)
    print(f"made the store {target} with the pool '{DEFAULT_POOL}'")
    if directory and os.environ.get("COWSHED_STORE") != directory:
        print(f"to use it: export COWSHED_STORE={_quoted(directory)}")


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(os.path.abspath(path))  # noqa: PTH100 - pathlib costs more than this line


@verb(
    "check",
    examples="""
    cowshed check
    cowshed check --format json
    """,
)
@takes_format
@click.pass_obj
def check(session: Session, output: Output) -> None:
    """Verify everything in the store: structure, leaks, double use, every cross-reference.

    All that is wrong is listed; the exit status is 117 then, and 0 when the store is sound.
    """
    with session.open() as store:
        found = store.check()
    if not output.plain:
        output.document({"sound": not found, "errors": found})
    elif found:
        sys.stdout.writelines(f"{sentence}\n" for sentence in found)
    else:
        print("the store is sound")
    if found:
        count = "one thing is" if len(found) == 1 else f"{len(found)} things are"
        raise StoreDamaged(
            f"{count} wrong in {session.target}", hint="export what can still be read into another store"
        )
