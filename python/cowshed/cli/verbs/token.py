"""token create, ls, rm: who may use the daemon over TCP."""

from __future__ import annotations

import time

import click

from cowshed.cli.command import verb
from cowshed.cli.output import Output, print_table, takes_format, timestamp
from cowshed.cli.session import Session
from cowshed.errors import InvalidArgument
from cowshed.serve.tokens import Token, Tokens, parse_duration
from cowshed.wire.operations import ROLES, Role


def tokens_of(session: Session) -> Tokens:
    """The tokens of a store on this machine: the file in it, whether or not a daemon serves it."""
    if "://" in session.target:
        raise InvalidArgument(
            f"tokens of {session.target!r} are made where its store is", hint="run this on that machine"
        )
    tokens = Tokens(session.target)
    tokens.need_store()
    return tokens


@verb(
    "token create",
    examples="""
    cowshed token create nova --role operate --pool vms
    cowshed token create prometheus --role read --expires 52w
    cowshed token create ops --role admin --expires 30d
    """,
)
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    required=True,
    help="What it may do: look; change images, snapshots and clones; or everything.",
)
@click.option(
    "--pool",
    "pools",
    metavar="POOL",
    multiple=True,
    help="The pool that it is good for; can be given again. Default: all, and the store as a whole.",
)
@click.option(
    "--expires", metavar="TIME", help="When it ends: 45s, 90m, 12h, 30d, 52w from now. Default: never."
)
@takes_format
@click.pass_obj
def create(
    session: Session, name: str, role: Role, pools: tuple[str, ...], expires: str | None, output: Output
) -> None:
    """Make a token for the daemon's API over TCP, and print it: this once, it is not kept.

    A running daemon knows it at its next request.
    """
    end = None if expires is None else time.time() + parse_duration(expires)
    text = tokens_of(session).create(name, role, pools=pools or None, expires=end)
    if output.plain:
        print(text)
    else:
        output.document({"name": name, "token": text})


@verb(
    "token ls",
    examples="""
    cowshed token ls
    cowshed token ls --format json
    """,
)
@takes_format
@click.pass_obj
def ls(session: Session, output: Output) -> None:
    """List the tokens: names, roles, pools and when they end; never the tokens themselves."""
    now = time.time()
    found = tokens_of(session).entries()
    if not output.plain:
        output.document([_document(token, now) for token in found], "tokens")
    elif found:
        print_table(("NAME", "ROLE", "POOLS", "CREATED", "EXPIRES"), [_row(token, now) for token in found])


@verb(
    "token rm",
    examples="""
    cowshed token rm nova
    """,
)
@click.argument("name")
@click.pass_obj
def rm(session: Session, name: str) -> None:
    """End a token. A running daemon refuses it from its next request on."""
    tokens_of(session).remove(name)


def _document(token: Token, now: float) -> dict[str, object]:
    return {
        "name": token.name,
        "role": token.role,
        "pools": None if token.pools is None else list(token.pools),
        "created": token.created,
        "expires": token.expires,
        "expired": not token.valid(now),
    }


def _row(token: Token, now: float) -> tuple[str, ...]:
    end = "never" if token.expires is None else timestamp(token.expires)
    return (
        token.name,
        token.role,
        "all" if token.pools is None else ",".join(token.pools),
        timestamp(token.created),
        end if token.valid(now) else f"expired {end}",
    )
