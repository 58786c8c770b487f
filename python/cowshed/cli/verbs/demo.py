"""demo: the snapshot story on a real disk image."""

from __future__ import annotations

import click

from cowshed.cli.command import verb


@verb(
    "demo",
    examples="""
    cowshed demo
    cowshed demo --image debian.raw --keep
    cowshed demo --snapshots 1000 --seed 7
    """,
)
@click.option("--image", metavar="FILE", help="A raw disk image to use; without it one is made.")
@click.option(
    "--snapshots",
    type=click.IntRange(10, 1_000_000),
    default=10_000,
    show_default=True,
    help="How many to take in the last step; nine in ten are removed.",
)
@click.option(
    "--seed", type=int, help="Where the random choices start; printed, so that a run can be repeated."
)
@click.option("--keep", is_flag=True, help="Leave the store behind, to look at.")
def demo(image: str | None, snapshots: int, seed: int | None, keep: bool) -> int:
    """Walk the snapshot story on a real disk image, in a store of its own, and check every byte of it.

    An image as Glance keeps it, a hundred instances as Nova boots them, an instance snapshot that
    outlives its instance, volumes and backups as Cinder has them, and thousands of snapshots of which
    most are removed. The exit status is not 0 if any check fails.
    """
    from cowshed.demo.story import tell

    return tell(image=image, snapshots=snapshots, seed=seed, keep=keep)
