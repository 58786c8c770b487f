"""Completion in the shell: verbs and options by click, and here the names of what is in the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from click.shell_completion import BashComplete, CompletionItem, add_completion_class, shell_complete

from cowshed.cli.places import GroupPlace, IdPlace, PathPlace, Place, PoolPlace, RoomPlace, SpecPlace
from cowshed.cli.session import Session
from cowshed.errors import CowshedError
from cowshed.store import DEFAULT_POOL, Store

if TYPE_CHECKING:
    import click

VARIABLE = "_COWSHED_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
_MOST = 500
"""Names offered at once."""

_BASH = r"""
%(complete_func)s() {
    local IFS=$'\n' line cur reply
    line=${COMP_LINE:0:COMP_POINT}
    cur=${line##*[[:space:]]}
    COMPREPLY=()
    while read -r reply; do
        case $reply in
        '') ;;
        dir,*) compopt -o dirnames ;;
        file,*) compopt -o default ;;
        *) COMPREPLY+=("${reply#*,}") ;;
        esac
    done < <(env COMP_WORDS="$line" %(complete_var)s=bash_complete "$1")
    # Readline breaks words at an @, and replaces only what is behind the last one.
    if [[ $cur == *@* && $COMP_WORDBREAKS == *@* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${cur%%@*}@"}")
    fi
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/@] ]] && compopt -o nospace
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Bash(BashComplete):
    """Takes the line as it is typed, because bash breaks `image@snap` into three words."""

    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        """The script needs nothing newer than bash 4, and asking for the version starts a bash."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the one at it."""
        import os

        from click.shell_completion import split_arg_string

        line = os.environ.get("COMP_WORDS", "")
        words = split_arg_string(line)[1:]
        return (words, "") if not line or line[-1].isspace() else (words[:-1], words[-1] if words else "")


def answer(program: click.Command, instruction: str) -> int:
    """Do what the shell asks for through the variable: print its script, or suggestions. The exit status."""
    add_completion_class(_Bash)
    try:
        return shell_complete(program, {}, "cowshed", VARIABLE, instruction)
    except CowshedError:
        # What stands there already is no command line: there is nothing to suggest.
        return 0


def suggestions(ctx: click.Context, places: tuple[Place, ...], incomplete: str) -> list[CompletionItem]:
    """What may stand where the cursor is. Never fails, and waits for no one: then it suggests nothing."""
    given = len(ctx.params.get("words") or ())
    if given >= len(places):
        return []
    place = places[given]
    if isinstance(place, PathPlace):
        return [CompletionItem(incomplete, type="file")]
    session = ctx.ensure_object(Session)
    session.lock_wait = 0.0
    with suppress(CowshedError, OSError), session.open() as store:
        names = (name for name in _names(store, place, incomplete) if name.startswith(incomplete))
        return [CompletionItem(name) for _, name in zip(range(_MOST), names, strict=False)]
    return []


def _names(store: Store, place: Place, incomplete: str) -> Iterator[str]:
    rooms = [(pool.name, space) for pool in store.pools() for space in ("", *store.namespaces(pool.name))]
    if isinstance(place, PoolPlace):
        yield from (pool for pool, space in rooms if not space)
        return
    if isinstance(place, RoomPlace):
        yield from (f"{pool}/{space}".rstrip("/") for pool, space in rooms)
        return
    if isinstance(place, SpecPlace) and "@" in incomplete:
        head = incomplete.partition("@")[0]
        yield from (f"{head}@{snapshot.name}" for snapshot in store.snapshots(head))
        return
    for pool, space in rooms:
        before = "" if (pool, space) == (DEFAULT_POOL, "") else f"{pool}/{space}/".replace("//", "/")
        if before and not before.startswith(incomplete) and not incomplete.startswith(before):
            continue
        if before and not incomplete.startswith(before):
            yield before
            continue
        for name in _in_room(store, place, pool, space):
            # A snapshot is wanted: the image is only the beginning.
            yield f"{before}{name}" + ("@" if isinstance(place, SpecPlace) and not place.image else "")


def _in_room(store: Store, place: Place, pool: str, space: str) -> Iterator[str]:
    if isinstance(place, IdPlace):
        yield from (entry.id for entry in store.trash(pool, space))
    elif isinstance(place, GroupPlace):
        yield from store.groups(pool, space)
    elif isinstance(place, SpecPlace):
        yield from store.images(pool, space)
