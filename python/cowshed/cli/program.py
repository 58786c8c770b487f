"""The program: the root command, and the one place where an error becomes a line and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

import click

from cowshed.cli.command import MenuGroup, global_options
from cowshed.cli.session import Session
from cowshed.errors import CowshedError, Disconnected

EXIT_USAGE = errno.EINVAL
EXIT_INTERRUPTED = 130
EXIT_PIPE = 141

EPILOG = """\
\b
The verbs, specs and options are those of rbd(8): a spec is
[POOL/[NAMESPACE/]]IMAGE[@SNAP], and the pool is `rbd` where none is named.

\b
Exit status: 0 when all that was asked is done and durable, else the errno
of what went wrong, as rbd has it: 2 not found, 17 exists already, 16 busy,
22 a bad argument, 39 not empty, 117 damaged; 130 after Ctrl-C.

\b
Five minutes of it:
  export COWSHED_STORE=~/cows
  cowshed init
  cowshed import debian.raw debian
  cowshed snap create debian@golden
  cowshed clone debian@golden vm1
  cowshed tree
"""


def root() -> MenuGroup:
    """The command `cowshed` with all its verbs."""
    return MenuGroup(
        "cowshed",
        help="A copy-on-write store for virtual-machine disks, with the meaning of Ceph RBD.",
        epilog=EPILOG,
        subcommand_metavar="VERB …",
        params=[
            *global_options(hidden=False),
            click.Option(
                ["-v", "--version"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_version,
                help="Show the version and exit.",
            ),
        ],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )


def run(arguments: list[str], session: Session | None = None) -> int:
    """Run one command line and return its exit status. Never raises; complains in plain words.

    `session` is what is known before the line is read.
    """
    _settle_streams()
    if instruction := os.environ.get("_COWSHED_COMPLETE"):
        from cowshed.cli.completion import answer

        return answer(root(), instruction)
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    session = session or Session()
    try:
        status = _invoke(arguments, session)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _complain(session, "interrupted", None)
        return EXIT_INTERRUPTED
    except (BrokenPipeError, Disconnected):
        # The reader has gone: nobody is left to complain to, and flushing at exit must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except CowshedError as error:
        _complain(session, error.message, error.hint)
        return error.exit_code
    except click.ClickException as error:
        _complain(
            session, _lower_first(error.format_message().rstrip(".")), f"`{session.asked} --help` shows how"
        )
        return EXIT_USAGE
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        _complain(session, f"the system refused{where}: {error.strerror or error}", None)
        return error.errno or errno.EIO
    except MemoryError:
        _complain(session, "there is not enough memory", None)
        return errno.ENOMEM
    except Exception as error:
        if os.environ.get("COWSHED_DEBUG"):
            raise
        _complain(
            session,
            f"this is a mistake in cowshed: {type(error).__name__}: {error}",
            "run it again with COWSHED_DEBUG=1 to see where, and please report it",
        )
        return errno.EIO


def _settle_streams() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # Started with the stream closed: what is printed goes nowhere.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        else:
            # A name that the terminal's encoding lacks must not end the program.
            stream.reconfigure(errors="backslashreplace")


def _invoke(arguments: list[str], session: Session) -> int:
    """Parse and run. Not click's own `main`, which turns Ctrl-C and closed pipes into words of its own."""
    try:
        with root().make_context(session.program, arguments or ["--help"], obj=session) as context:
            status = context.command.invoke(context)
            return status if isinstance(status, int) else 0
    except click.exceptions.Exit as leave:
        return leave.exit_code


def _complain(session: Session, matter: str, hint: str | None) -> None:
    with suppress(OSError):
        sys.stdout.flush()
    where = f"{session.program}: {session.verb}: " if session.verb else f"{session.program}: "
    lines = [where + matter, *([f"  hint: {hint}"] if hint else [])]
    with suppress(OSError):
        print("\n".join(lines), file=sys.stderr, flush=True)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from cowshed import __version__

        click.echo(f"cowshed {__version__}")
        ctx.exit()
