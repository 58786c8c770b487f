"""A client's configuration, as ceph.conf and its program say it.

    [global]
    mon host = 10.0.0.1:6789        ; a key's words are joined by spaces, `_` or `-`
    [client]
    keyring = /etc/ceph/$cluster.$name.keyring
    [client.cinder]
    rbd_default_order = 23          # the nearest section wins: client.ID, client, global

What the program sets wins over its command line, that over the file, that over the defaults. A `$name` or
`${name}` in a value is a metavariable ($cluster $type $id $name $host $pid $home) or another key's value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from cowshed.compat.options import Option, option
from cowshed.errors import FormatError, InvalidArgument, from_os_error

DEFAULT_FILES = ("/etc/ceph/$cluster.conf", "$home/.ceph/$cluster.conf", "$cluster.conf")
"""Where a configuration is looked for that is not named, in this order."""

_SECTION = re.compile(r"\[([^\]]+)\]\s*(?:[#;].*)?")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_SAID_IN_TWO_WORDS = ("true", "false", "1", "0")
_DEEPEST = 8
"""So many keys may stand for one another; more is a circle."""


class Conf:
    """What holds for one client. Keys may be spelled with spaces, `_` or `-`."""

    def __init__(self, *, cluster: str = "ceph", kind: str = "client", id: str = "admin") -> None:
        self.cluster = cluster
        self.kind = kind
        self.id = id
        self.files: list[str] = []
        """The files that were read."""
        self._set: dict[str, str] = {}
        self._argued: dict[str, str] = {}
        self._sections: dict[str, dict[str, str]] = {}

    @property
    def name(self) -> str:
        """`client.ID`."""
        return f"{self.kind}.{self.id}"

    def get(self, key: str) -> str | None:
        """The value that holds, its variables replaced; None for a key that is neither known nor set."""
        key = normal(key)
        found = self.given(key)
        if found is None:
            known = option(key)
            return None if known is None else self._filled(known.default, 0)
        return found

    def given(self, key: str) -> str | None:
        """As `get`, but only what somebody set: None where only the default holds."""
        raw = self._raw(normal(key))
        return None if raw is None else self._filled(raw, 0)

    def set(self, key: str, value: str) -> None:
        """What the program itself sets. Raises KeyError for an unknown key, InvalidArgument for the value."""
        key = normal(key)
        self._set[key] = _known(key).taken(key, value)

    def read_file(self, path: str | os.PathLike[str]) -> None:
        """Read a file, which takes the place of those read before.

        Raises NotFound, PermissionDenied, IOFailure, FormatError.
        """
        path = os.fspath(path)
        try:
            text = Path(path).read_text(errors="surrogateescape")
        except OSError as error:
            raise from_os_error(error, f"reading {path!r}") from None
        self.read_text(text, path)

    def read_text(self, text: str, origin: str = "the configuration") -> None:
        """As `read_file`, the text itself. `origin` names it in messages. Raises FormatError."""
        self._sections = parse(text, origin)
        self.files = [origin]

    def default_files(self) -> list[str]:
        """Where to look when no file is named: what CEPH_CONF says, or the usual places."""
        named = os.environ.get("CEPH_CONF")
        return [self._filled(place, 0) for place in (named.split(",") if named else DEFAULT_FILES)]

    def read_default_files(self) -> bool:
        """Read the first of `default_files` that is there; False where none is."""
        for path in self.default_files():
            if Path(path).exists():
                self.read_file(path)
                return True
        return False

    def parse_arguments(self, arguments: Iterable[str]) -> list[str]:
        """Take `--KEY VALUE` and `--KEY=VALUE` of known keys from a command line; returns what is left.

        A key that is on or off needs no value: `--KEY` is on, `--no-KEY` off, and the next word is its value
        only if it is one of `true`, `false`, `1` and `0`. Raises InvalidArgument for a value that its key
        does not take, or that is missing.
        """
        left: list[str] = []
        rest = list(arguments)
        while rest:
            word = rest.pop(0)
            if word == "--":
                return [*left, word, *rest]
            key, equals, value = word.removeprefix("--").partition("=")
            key = normal(key)
            known = option(key) if word.startswith("--") else None
            off = option(key.removeprefix("no_")) if word.startswith("--no") and not equals else None
            if known is None and off is not None and off.kind == "bool":
                self._argued[key.removeprefix("no_")] = "false"
                continue
            if known is None:
                left.append(word)
                continue
            if not equals and known.kind == "bool":
                value = rest.pop(0) if rest[:1] and rest[0] in _SAID_IN_TWO_WORDS else "true"
            elif not equals:
                if not rest:
                    raise InvalidArgument(f"{word} needs a value")
                value = rest.pop(0)
            self._argued[key] = known.taken(key, value)
        return left

    def parse_environment(self, variable: str = "CEPH_ARGS") -> None:
        """Take the options that an environment variable holds. Raises InvalidArgument."""
        import shlex

        self.parse_arguments(shlex.split(os.environ.get(variable, "")))

    def copy(self) -> Conf:
        """One that changes by itself."""
        other = Conf(cluster=self.cluster, kind=self.kind, id=self.id)
        other.files = list(self.files)
        other._set, other._argued = dict(self._set), dict(self._argued)
        other._sections = {name: dict(keys) for name, keys in self._sections.items()}
        return other

    def _raw(self, key: str) -> str | None:
        for layer in (self._set, self._argued, *self._layers()):
            if key in layer:
                return layer[key]
        return None

    def _layers(self) -> list[dict[str, str]]:
        """The file's sections that apply, the nearest first."""
        return [self._sections.get(name, {}) for name in (self.name, self.kind, "global")]

    def _filled(self, value: str, depth: int) -> str:
        """The value with its variables replaced; what stands for nothing stays as it is."""

        def replaced(match: re.Match[str]) -> str:
            word = match[1] or match[2]
            found = self._variable(word)
            if found is not None:
                return found
            raw = self._raw(word)
            if raw is None and (known := option(word)):
                raw = known.default
            return match[0] if raw is None or depth == _DEEPEST else self._filled(raw, depth + 1)

        return _VARIABLE.sub(replaced, value)

    def _variable(self, word: str) -> str | None:
        match word:
            case "cluster":
                return self.cluster
            case "type":
                return self.kind
            case "id":
                return self.id
            case "name":
                return self.name
            case "host":
                return os.uname().nodename.partition(".")[0]
            case "pid":
                return str(os.getpid())
            case "home":
                return os.path.expanduser("~")  # noqa: PTH111
            case _:
                return None


def cluster_of_file(path: str | os.PathLike[str]) -> str:
    """The cluster that a file is for, by its name: `blue` for blue.conf, `ceph` for other kinds."""
    name = Path(path).name
    return name.removesuffix(".conf") if name.endswith(".conf") else "ceph"


def normal(key: str) -> str:
    """The key as it is kept: lower words, joined by `_`."""
    return re.sub(r"[\s_-]+", "_", key.strip())


def parse(text: str, origin: str = "the configuration") -> dict[str, dict[str, str]]:
    """The sections of a ceph.conf, with their keys in normal form and their values as written.

    What stands before the first section belongs to `global`. Raises FormatError.
    """
    sections: dict[str, dict[str, str]] = {}
    section = sections.setdefault("global", {})
    for number, line in _lines(text):
        if found := _SECTION.fullmatch(line):
            section = sections.setdefault(found[1].strip(), {})
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip() or "[" in key:
            raise FormatError(
                f"{origin}, line {number}: {line!r} is no setting", hint="a setting is KEY = VALUE"
            )
        section[normal(key)] = _value(value.strip(), f"{origin}, line {number}")
    return sections


def _lines(text: str) -> Iterable[tuple[int, str]]:
    """Lines that say something, with their numbers; a `\\` at an end joins the next one."""
    joined, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start or number
        if line.rstrip().endswith("\\") and not line.rstrip().endswith("\\\\"):
            joined += line.rstrip()[:-1]
            continue
        whole = (joined + line).strip()
        if whole and whole[0] not in "#;":
            yield start, whole
        joined, start = "", 0
    if joined.strip() and joined.strip()[0] not in "#;":
        yield start, joined.strip()


def _value(text: str, where: str) -> str:
    """A value without its quotes and the comment behind it."""
    if text[:1] in ("'", '"'):
        quote = text[0]
        end = text.find(quote, 1)
        if end < 0 or (text[end + 1 :].strip() and text[end + 1 :].strip()[0] not in "#;"):
            raise FormatError(f"{where}: the quote {quote} is not closed")
        return text[1:end]
    kept = []
    letters = iter(text)
    for letter in letters:
        if letter in "#;":
            break
        kept.append(next(letters, letter) if letter == "\\" else letter)
    return "".join(kept).rstrip()


def _known(key: str) -> Option:
    known = option(key)
    if known is None:
        raise KeyError(key)
    return known
