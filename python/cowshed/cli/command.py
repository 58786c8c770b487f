"""The kinds of click command used here: a verb, and a group that loads its verbs when they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, TypeVar

import click

from cowshed.cli.menu import ALIASES, FAMILIES, GROUPS, VERBS
from cowshed.cli.session import Session
from cowshed.errors import InvalidArgument

F = TypeVar("F", bound=Callable[..., Any])


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep a global option, wherever it was given: the one behind the verb wins."""
    session = ctx.ensure_object(Session)
    if value is None or param.name is None:
        return
    given_there = ctx.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE
    if given_there or getattr(session, param.name) is None:
        setattr(session, param.name, value)


def _note(word: str | None, parent: click.Context | None) -> None:
    if parent is not None:
        session = parent.ensure_object(Session)
        session.verb = f"{session.verb} {word}".lstrip()


def global_options(*, hidden: bool) -> list[click.Option]:
    """The options that every verb takes; they may stand before or behind it, as in rbd(8)."""
    return [
        click.Option(
            ["--store", "store"],
            metavar="TARGET",
            envvar="COWSHED_STORE",
            help="The store: a directory, or another target. Default: $COWSHED_STORE.",
            expose_value=False,
            callback=_remember,
            hidden=hidden,
        ),
        click.Option(
            ["--lock-wait", "lock_wait"],
            metavar="SECONDS",
            type=click.FloatRange(min=0),
            help="How long to wait while another process has the store. Default: 5.",
            expose_value=False,
            callback=_remember,
            hidden=hidden,
        ),
    ]


class Verb(click.Command):
    """A command with the global options, and with examples at the end of its help."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.params.extend(global_options(hidden=True))

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Note which verb runs before its arguments are read, so that a complaint can name it."""
        _note(info_name, parent)
        return super().make_context(info_name, args, parent, **extra)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the examples as they are, never rewrapped."""
        if not self.examples:
            return
        with formatter.section("Examples"):
            for line in self.examples.strip().splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")


def verb(name: str, *, examples: str = "") -> Callable[[Callable[..., Any]], Verb]:
    """Make a function the verb of that name in the menu; its docstring is the help."""

    def wrap(function: Callable[..., Any]) -> Verb:
        return click.command(
            name.rpartition(" ")[2],
            cls=Verb,
            short_help=VERBS[name].summary,
            examples=examples,
        )(function)

    return wrap


class MenuGroup(click.Group):
    """The verbs of the menu that start with `prefix` ("" for all, "snap " for `snap create` and so on)."""

    def __init__(self, *args: Any, prefix: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prefix = prefix

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """As for a verb."""
        _note(info_name, parent)
        return super().make_context(info_name, args, parent, **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The first words of the verbs, in the menu's order."""
        return self._words(VERBS)

    def _words(self, names: Iterable[str]) -> list[str]:
        length = len(self.prefix)
        rest = (name[length:] for name in names if name.startswith(self.prefix))
        return list(dict.fromkeys(word.partition(" ")[0] for word in rest))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one verb, or make the group that the word begins; None for a word that is not known."""
        name = ALIASES.get(self.prefix + cmd_name, self.prefix + cmd_name)
        if name in GROUPS:
            return MenuGroup(
                name,
                prefix=f"{name} ",
                short_help=GROUPS[name],
                help=GROUPS[name],
                params=list(global_options(hidden=True)),
                subcommand_metavar="VERB …",
                no_args_is_help=False,
                invoke_without_command=True,
                callback=click.pass_context(_need_verb),
            )
        entry = VERBS.get(name)
        if entry is None:
            return None
        command = getattr(import_module(f"cowshed.cli.verbs.{entry.module}"), entry.command)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; an unknown one is answered with those that look like it."""
        command = self.get_command(ctx, args[0])
        if command is None:
            raise self._unknown(args[0])
        return args[0], command, args[1:]

    def _unknown(self, word: str) -> InvalidArgument:
        import difflib

        asked = self.prefix + word
        close = difflib.get_close_matches(word, self._words([*VERBS, *ALIASES]), n=3)
        if not self.prefix:
            # `cowshed rollback x` is a likely slip for `cowshed snap rollback x`.
            close += [name for name in VERBS if name.endswith(f" {word}")]
        if close:
            hint = "did you mean " + " or ".join(f"`cowshed {self.prefix}{name}`" for name in close) + "?"
        else:
            hint = f"`cowshed {self.prefix}--help` lists the verbs".replace("  ", " ")
        return InvalidArgument(f"there is no verb '{asked}'", hint=hint)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs by family, from the menu alone."""
        width = max(len(name) for name in VERBS)
        for family, verbs in FAMILIES.items():
            rows = [
                (f"{name:{width}}", entry.summary)
                for name, entry in verbs.items()
                if name.startswith(self.prefix)
            ]
            if rows:
                with formatter.section(family):
                    formatter.write_dl(rows)


def _need_verb(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        group = ctx.info_name
        raise InvalidArgument(
            f"a verb is missing behind '{group}'", hint=f"`cowshed {group} --help` lists them"
        )
