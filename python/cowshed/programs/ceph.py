"""The program `ceph`: what people and drivers ask a cluster, answered by the store that ceph.conf names.

    ceph [-c CONF] [--id ID | -n NAME] [--cluster NAME] [-k KEYRING] [-f FORMAT] COMMAND…

Exit codes are ceph's: the errno of what a command answers, 1 where no cluster can be reached.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from cowshed.compat import monitor
from cowshed.compat.rados import Error, Rados

_FORMATS = ("plain", "json", "json-pretty")

_COMMANDS: dict[str, str] = {
    "status": "",
    "df": "detail?",
    "fsid": "",
    "health": "detail?",
    "version": "",
    "versions": "",
    "quorum_status": "",
    "mon dump": "epoch?",
    "mon stat": "",
    "mon versions": "",
    "pg stat": "",
    "osd dump": "epoch?",
    "osd stat": "",
    "osd ls": "epoch?",
    "osd df": "output_method?",
    "osd tree": "",
    "osd versions": "",
    "osd lspools": "",
    "osd pool ls": "detail?",
    "osd pool stats": "pool_name?",
    "osd pool get": "pool var",
    "osd pool get-quota": "pool",
    "osd pool create": "pool pg_num? pgp_num? pool_type?",
    "osd pool rm": "pool pool2?",
    "osd pool delete": "pool pool2?",
    "osd pool application get": "pool?",
    "osd pool application enable": "pool app",
    "osd blocklist ls": "",
    "config get": "who key",
    "auth get": "entity",
    "auth get-key": "entity",
    "auth print-key": "entity",
}
"""Every command with its arguments' names; `?` behind those that may be left out."""

_VALUED = {
    "-c": "conf",
    "--conf": "conf",
    "--id": "id",
    "--user": "id",
    "-n": "name",
    "--name": "name",
    "--cluster": "cluster",
    "-k": "keyring",
    "--keyring": "keyring",
    "-m": "mon_host",
    "--mon-host": "mon_host",
    "-f": "format",
    "--format": "format",
    "--connect-timeout": "timeout",
    "-o": "out",
    "--out-file": "out",
}
_FLAGS = {"-s": "status", "--status": "status"}


class Misuse(Exception):
    """The command line makes no sense."""


@dataclass
class Line:
    """A command line, taken apart."""

    options: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    switches: list[str] = field(default_factory=list)
    """`--yes-i-really-really-mean-it` and the like, as arguments of the command."""
    settings: list[str] = field(default_factory=list)
    """Options that may be the configuration's."""
    version: bool = False
    help: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    try:
        return run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return errno.EINTR
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return errno.EPIPE


def run(arguments: list[str]) -> int:
    """As `main`, without what is the terminal's."""
    try:
        line = apart(arguments)
        if line.version:
            print(monitor.VERSION)
            return 0
        if line.help or not line.words:
            print(_usage())
            return 0
        command = asked(line)
    except Misuse as misuse:
        print(f"{misuse}\nError EINVAL: invalid command", file=sys.stderr)
        return errno.EINVAL
    try:
        cluster = client(line)
    except (Error, ValueError) as error:
        print(f"Error initializing cluster client: {error!r}", file=sys.stderr)
        return 1
    try:
        cluster.connect(timeout=int(line.options.get("timeout", "0")))
    except (Error, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    try:
        number, answer, said = cluster.mon_command(json.dumps(command), b"")
    except Error as error:
        number, answer, said = -(error.errno or errno.EIO), b"", str(error.__cause__ or error)
    finally:
        cluster.shutdown()
    if number:
        print(f"Error {errno.errorcode.get(-number, -number)}: {said}", file=sys.stderr)
        return -number
    if said:
        print(said, file=sys.stderr)
    return _put(answer, line.options)


def apart(arguments: list[str]) -> Line:
    """Take a command line apart. Raises Misuse."""
    line = Line()
    rest = iter(arguments)
    for word in rest:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if word in ("-v", "--version"):
            line.version = True
        elif word in ("-h", "--help"):
            line.help = True
        elif word in _FLAGS:
            line.words = [_FLAGS[word]]
        elif name in _VALUED:
            if not equals:
                found = next(rest, None)
                if found is None:
                    raise Misuse(f"{name} needs a value")
                value = found
            line.options[_VALUED[name]] = value
        elif word.startswith("--yes-i-really"):
            line.switches.append(word.removeprefix("--").replace("-", "_"))
        elif word.startswith("-") and len(word) > 1:
            line.settings.append(word)
            if not equals and (follows := next(rest, None)) is not None:
                line.settings.append(follows)
        else:
            # A whole command may be one word: ceph "mon dump"
            line.words += word.split() if not line.words else [word]
    if line.options.get("format", "plain") not in _FORMATS:
        raise Misuse(f"--format is one of {', '.join(_FORMATS)}")
    return line


def asked(line: Line) -> dict[str, object]:
    """The command that the words are, as a monitor takes it. Raises Misuse."""
    for count in range(len(line.words), 0, -1):
        prefix, given = " ".join(line.words[:count]), line.words[count:]
        if prefix in _COMMANDS:
            names = _COMMANDS[prefix].split()
            needed = [name for name in names if not name.endswith("?")]
            if not len(needed) <= len(given) <= len(names):
                raise Misuse(f"Invalid command: {_shown(prefix)}")
            command: dict[str, object] = {"prefix": prefix, "format": line.options.get("format", "plain")}
            command |= {name.rstrip("?"): value for name, value in zip(names, given, strict=False)}
            return command | dict.fromkeys(line.switches, True)
    raise Misuse("no valid command found; there are:\n" + "\n".join(map(_shown, _COMMANDS)))


def client(line: Line) -> Rados:
    """The client that the options describe. Raises Error."""
    options = line.options
    found = Rados(
        rados_id=options.get("id"),
        name=None if options.get("id") else options.get("name"),
        clustername=options.get("cluster"),
        conffile=options.get("conf", "" if "mon_host" not in options else Rados.NO_CONF_FILE),
    )
    found.conf_parse_env()
    found.conf_parse_argv(line.settings)
    for key in ("keyring", "mon_host"):
        if key in options:
            found.conf_set(key, options[key])
    return found


def _put(answer: bytes, options: dict[str, str]) -> int:
    data = answer.rstrip(b"\n") + b"\n" if answer.strip(b"\n") else b""
    if "out" in options and options["out"] != "-":
        try:
            with open(options["out"], "wb") as file:  # noqa: PTH123
                file.write(data)
        except OSError as error:
            print(f"Can't open output file {options['out']}: {error.strerror}", file=sys.stderr)
            return 1
        return 0
    if options.get("format", "plain") != "plain" and data:
        data = b"\n" + data  # as ceph does
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return 0


def _shown(prefix: str) -> str:
    names = (f"[<{name[:-1]}>]" if name.endswith("?") else f"<{name}>" for name in _COMMANDS[prefix].split())
    return " ".join((prefix, *names))


def _usage() -> str:
    commands = "\n".join(f"  {_shown(prefix)}" for prefix in _COMMANDS)
    return (
        "usage: ceph [-c CONF] [--id ID | -n NAME] [--cluster NAME] [-k KEYRING] [-m ADDRESS]\n"
        "            [-f plain|json|json-pretty] [-o FILE] [-s] [-v] COMMAND...\n\n"
        f"Commands:\n{commands}"
    )


if __name__ == "__main__":
    sys.exit(main())
