"""`rbd`: cowshed's command line with rbd's name, its options, and the store that ceph.conf names."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cowshed.cli.program import run
from cowshed.cli.session import Session
from cowshed.compat.conf import Conf
from cowshed.errors import CowshedError, InvalidArgument
from cowshed.programs.options import client_conf
from cowshed.store import Store

_OF_NEW_IMAGES = (
    "rbd_default_order",
    "rbd_default_features",
    "rbd_default_stripe_unit",
    "rbd_default_stripe_count",
)
"""The keys of a configuration that say what new images are like."""
_WITHOUT_MEANING = {"--new-format": 0, "--whole-object": 0, "--sparse-size": 1, "--image-shared": 0}
"""Options of rbd that change nothing here, and how many words follow them: there is one format of images, and
differences and zeros are exact to the block in any case."""
_OF_VERBS = {
    **dict.fromkeys(
        ("-p", "--pool", "--namespace", "--image", "--snap", "--dest-pool", "--dest", "--format"), 1
    ),
    **dict.fromkeys(("--pretty-format", "--no-progress"), 0),
}
"""Options of a verb that rbd takes before the verb, too, and how many words follow them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: the errno of what went wrong, as rbd's."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    session = Session(program="rbd")
    try:
        conf, words = client_conf(words)
        words = translated(words)
        session.defaults = _defaults(conf)
        if "--store" not in {word.partition("=")[0] for word in words}:
            _name_store(session, conf)
    except CowshedError as error:
        hint = f"\n  hint: {error.hint}" if error.hint else ""
        print(f"rbd: {error.message}{hint}", file=sys.stderr)
        return error.exit_code
    return run(words, session)


def translated(words: Sequence[str]) -> list[str]:
    """The words as cowshed's command takes them. Raises InvalidArgument for images of format 1."""
    kept: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name == "--image-format":
            value = value if equals else (rest.pop(0) if rest else "")
            if value != "2":
                raise InvalidArgument(
                    f"images of format {value or '(nothing)'} cannot be made", hint="leave out --image-format"
                )
        elif name in _WITHOUT_MEANING:
            if not equals:
                del rest[: _WITHOUT_MEANING[name]]
        elif word == "--":
            kept += [word, *rest]
            break
        else:
            kept.append(word)
    return _verb_first(kept)


def _verb_first(words: list[str]) -> list[str]:
    """The verb, before the options that are the verb's: `-p vms ls` is `ls -p vms`."""
    before = 0
    while before < len(words) and (count := _OF_VERBS.get(words[before].partition("=")[0])) is not None:
        before += 1 if "=" in words[before] else 1 + count
    verb, options = words[before:], words[:before]
    behind = verb.index("--") if "--" in verb else len(verb)
    return verb[:behind] + options + verb[behind:]


def _defaults(conf: Conf) -> dict[str, str]:
    """What the client's configuration says of new images; of clones, what RBD does where it says nothing."""
    said = {key: conf.given(key) for key in _OF_NEW_IMAGES}
    found = {key: value for key, value in said.items() if value is not None}
    found["rbd_default_clone_format"] = "2" if conf.get("rbd_default_clone_format") == "2" else "1"
    return found


def _name_store(session: Session, conf: Conf) -> None:
    """Tell the session what ceph.conf names; where it names nothing, COWSHED_STORE holds as ever."""
    if target := conf.given("cowshed"):
        session.store = target
    elif mon_host := conf.given("mon_host"):
        session.store = f"cowshed://{mon_host}"
        session.opener = lambda: _opened(conf)


def _opened(conf: Conf) -> Store:
    """The store of a daemon that ceph.conf names by its address; closing it is all that letting go takes."""
    from cowshed.compat.finding import find

    return find(conf).store


if __name__ == "__main__":
    sys.exit(main())
