"""The options that every program of a cluster takes: which cluster, as whom, and whatever ceph.conf may say.

-c FILE --conf FILE --cluster NAME --id ID --user ID -n TYPE.ID --name TYPE.ID -m HOST -k FILE -K FILE
--KEY VALUE and --KEY=VALUE for the keys of a ceph.conf, with `_` or `-`
"""

from __future__ import annotations

from collections.abc import Sequence

from cowshed.compat.conf import Conf, cluster_of_file
from cowshed.errors import InvalidArgument

_WHO = {"--cluster", "--id", "--user", "-n", "--name"}
_FILE = {"-c", "--conf"}
_KEYS = {"-m": "mon_host", "-k": "keyring", "-K": "keyfile"}
_NAMES = {"-c": "--conf", "-n": "--name", "--user": "--id", **_KEYS}
_NOTHING = {"--no-mon-config", "--no-config-file"}
"""Of no meaning here."""


def client_words(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What a command line says of these options, but for the keys of a ceph.conf; and what is left of it.

    By their long names, or by the key that they stand for. Raises InvalidArgument.
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
        given[_NAMES.get(name, name)] = value
    return given, kept


def client_conf(arguments: Sequence[str]) -> tuple[Conf, list[str]]:
    """The configuration that a command line asks for, and what is left of the line.

    A file that is named must be there; without one, the usual places are looked at, and none need be. Raises
    InvalidArgument, NotFound, FormatError, PermissionDenied, IOFailure.
    """
    given, kept = client_words(arguments)
    path = given.get("--conf")
    conf = _of_whom(given, cluster_of_file(path) if path else "ceph")
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


def _of_whom(given: dict[str, str], cluster: str) -> Conf:
    """Who asks which cluster: what the line says, else the client `admin` and this `cluster`."""
    name = given.get("--name")
    kind, dot, user = (name or "client.admin").partition(".")
    if not dot or not user:
        raise InvalidArgument(f"{name!r} is no name", hint="write TYPE.ID: client.admin")
    user = given.get("--id", user)
    return Conf(cluster=given.get("--cluster", cluster), kind=kind, id=user)
