"""The options that every program of a cluster takes: which cluster, as whom, and whatever ceph.conf may say.

-c FILE --conf FILE --cluster NAME --id ID --user ID -n TYPE.ID --name TYPE.ID -m HOST -k FILE -K FILE
--KEY VALUE and --KEY=VALUE for the keys of a ceph.conf, with `_` or `-`
"""

from __future__ import annotations

from collections.abc import Sequence

from cowshed.compat.conf import Conf
from cowshed.errors import InvalidArgument, NotFound
from cowshed.store import Store

_WHO = {"--cluster", "--id", "--user", "-n", "--name"}
_FILE = {"-c", "--conf"}
_KEYS = {"-m": "mon_host", "-k": "keyring", "-K": "keyfile"}
_NOTHING = {"--no-mon-config", "--no-config-file"}
"""Of no meaning here."""
_PATIENCE_SECONDS = 5.0
"""How long a store is waited for that another process owns."""


def client_conf(arguments: Sequence[str]) -> tuple[Conf, list[str]]:
    """The configuration that a command line asks for, and what is left of the line.

    A file that is named must be there; without one, the usual places are looked at, and none need be. Raises
    InvalidArgument, NotFound, FormatError, PermissionDenied, IOFailure.
    """
    kept: list[str] = []
    given: dict[str, str] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            kept += [word, *words]
            break
        name, value = _split(word)
        if name in _NOTHING:
            continue
        if name not in _WHO | _FILE | _KEYS.keys():
            kept.append(word)
            continue
        if value is None:
            if not words:
                raise InvalidArgument(f"{name} needs a value")
            value = words.pop(0)
        given[_KEYS.get(name, name)] = value
    conf = _of_whom(given)
    path = given.get("--conf", given.get("-c"))
    if path is not None:
        conf.read_file(path)
    else:
        conf.read_default_files()
    conf.parse_environment()
    for key in _KEYS.values():
        if key in given:
            conf.set(key, given[key])
    return conf, conf.parse_arguments(kept)


def _split(word: str) -> tuple[str, str | None]:
    """The option's name, and its value where that is in the same word."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    short = word[:2]
    if short in _FILE | _WHO | _KEYS.keys() and len(word) > 2:
        return short, word[2:]
    return word, None


def _of_whom(given: dict[str, str]) -> Conf:
    name = given.get("--name", given.get("-n"))
    kind, dot, user = (name or "client.admin").partition(".")
    if not dot or not user:
        raise InvalidArgument(f"{name!r} is no name", hint="write TYPE.ID: client.admin")
    user = given.get("--id", given.get("--user", user))
    return Conf(cluster=given.get("--cluster", "ceph"), kind=kind, id=user)


def open_store(conf: Conf, *, program: str) -> Store:
    """The store that a configuration names, by `cowshed` or by `mon_host` and a key; use it in a `with`.

    `program` is what others are told who find the store owned. Raises NotFound where it names none, and what
    opening raises.
    """
    if target := conf.given("cowshed"):
        from cowshed.opening import open as opened

        return opened(target, wait_seconds=_PATIENCE_SECONDS, owner=program)
    mon_host = conf.given("mon_host")
    if not mon_host:
        raise NotFound(
            "the configuration names no store",
            hint="write `cowshed = PATH` in ceph.conf, or `mon_host` of a daemon",
        )
    from cowshed.compat.entrance import connect
    from cowshed.compat.keyring import find_key

    return connect(mon_host, find_key(conf))
