"""completion: the scripts that shells need."""

from __future__ import annotations

import click

from cowshed.cli.command import verb
from cowshed.cli.completion import SHELLS, answer
from cowshed.cli.places import TextPlace, takes
from cowshed.errors import InvalidArgument


@verb(
    "completion",
    examples="""
    eval "$(cowshed completion bash)"                        # in ~/.bashrc
    cowshed completion zsh > ~/.zfunc/_cowshed
    cowshed completion fish > ~/.config/fish/completions/cowshed.fish
    """,
)
@takes(TextPlace("shell", label="bash|zsh|fish"))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print the script that completes verbs, options, and names of images and snapshots in a shell."""
    if shell not in SHELLS:
        raise InvalidArgument(
            f"there is no completion for '{shell}'", hint=f"there is for {', '.join(SHELLS)}"
        )
    return answer(ctx.find_root().command, f"{shell}_source")
