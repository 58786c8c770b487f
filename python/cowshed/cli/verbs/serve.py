"""serve: the daemon, as an operator starts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from cowshed.cli.command import verb
from cowshed.cli.session import DEFAULT_LOCK_WAIT, Session
from cowshed.errors import UnsupportedTarget
from cowshed.serve.settings import SETTINGS, load


def _takes_settings(function: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each setting; None for what is not given, so that a file's value stands."""
    for setting in reversed(SETTINGS):
        kind: click.ParamType[Any] | type = str
        if setting.kind == "seconds":
            kind = float
        elif setting.kind == "word":
            kind = click.Choice(setting.words)
        function = click.option(
            f"--{setting.name}",
            metavar=setting.metavar or None,
            type=None if setting.kind == "flag" else kind,
            is_flag=setting.kind == "flag",
            default=None,
            help=setting.help,
        )(function)
    return function


@verb(
    "serve",
    examples="""
    cowshed serve
    cowshed serve --create --group kvm
    cowshed serve --listen 0.0.0.0:7180 --tls-cert host.pem --tls-key host.key
    cowshed serve --config /etc/cowshed/main.toml
    """,
)
@click.option("--config", metavar="FILE", help="Settings from a TOML file; the command line wins.")
@click.option("--create", is_flag=True, help="Make the store if its directory is empty or not there.")
@_takes_settings
@click.pass_obj
def serve(session: Session, /, config: str | None, create: bool, **given: Any) -> None:
    """Serve the store to many at once: disks over NBD, everything else over an API.

    Runs until SIGTERM or Ctrl-C, then lets work in flight end; a second one hurries. While it runs, all
    other commands on this store go through it by themselves. SIGHUP reads the TLS files anew.
    """
    try:
        from cowshed.serve.daemon import run
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] == "cowshed":
            raise
        raise UnsupportedTarget(
            f"the daemon needs {missing.name!r}, which is not installed",
            hint="pip install 'cowshed[serve]'",
        ) from None
    wait = DEFAULT_LOCK_WAIT if session.lock_wait is None else session.lock_wait
    run(load(session.target, given, config=config), create=create, wait_seconds=wait)
