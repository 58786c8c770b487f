"""Disks as qemu names them in RBD: `rbd:POOL/[NAMESPACE/]IMAGE[@SNAP][:KEY=VALUE…]`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cowshed.compat.conf import Conf
from cowshed.errors import InvalidArgument
from cowshed.store import ImageSpec, SnapSpec

PREFIX = "rbd:"
_SPEC = re.compile(
    r"(?P<pool>(?:[^/@\\]|\\.)+)/(?:(?P<namespace>(?:[^/@\\]|\\.)*)/)?(?P<image>(?:[^/@\\]|\\.)+)"
    r"(?:@(?P<snapshot>(?:[^\\]|\\.)+))?",
    re.DOTALL,
)
_OPTION = re.compile(r"(?P<key>(?:[^=\\]|\\.)+)=(?P<value>.*)", re.DOTALL)
_BESIDE = {"conf", "id"}
"""Options that are not keys of a ceph.conf."""


@dataclass(frozen=True, slots=True)
class QemuName:
    """An image or a snapshot, and the configuration that leads to its store."""

    spec: ImageSpec | SnapSpec
    options: tuple[tuple[str, str], ...]

    def conf(self) -> Conf:
        """As librbd makes it of them: the file that `conf` names or the usual one, then all other keys.

        Raises NotFound, FormatError, InvalidArgument for what is no key or not of its kind.
        """
        options = dict(self.options)
        found = Conf(id=options.get("id", "admin"))
        if "conf" in options:
            found.read_file(options["conf"])
        else:
            found.read_default_files()
        for key, value in self.options:
            if key not in _BESIDE:
                try:
                    found.set(key, value)
                except KeyError:
                    raise InvalidArgument(f"{key!r} is no key of a ceph.conf") from None
        return found


def parse_name(text: str) -> QemuName:
    r"""The disk of a word that begins with `rbd:`. A `\` takes the meaning from `:`, `@`, `/`, `=` and `\`.

    Raises InvalidArgument.
    """
    first, *rest = _split(text.removeprefix(PREFIX))
    found = _SPEC.fullmatch(first)
    if found is None:
        hint = "write rbd:POOL/IMAGE[@SNAP][:conf=FILE][:id=ID]"
        raise InvalidArgument(f"{text!r} names no image", hint=hint)
    image = ImageSpec(_plain(found["pool"]), _plain(found["namespace"] or ""), _plain(found["image"]))
    options = []
    for part in rest:
        option = _OPTION.fullmatch(part)
        if option is None:
            raise InvalidArgument(f"{text!r}: {part!r} is no option", hint="write KEY=VALUE")
        options.append((_plain(option["key"]), _plain(option["value"])))
    snapshot = found["snapshot"]
    return QemuName(image.at(_plain(snapshot)) if snapshot else image, tuple(options))


def _split(text: str) -> list[str]:
    r"""The parts between colons that no `\` stands before; each as written."""
    parts, current, escaped = [], "", False
    for letter in text:
        if letter == ":" and not escaped:
            parts.append(current)
            current = ""
        else:
            current += letter
        escaped = letter == "\\" and not escaped
    return [*parts, current]


def _plain(text: str) -> str:
    r"""Without each `\` that takes a meaning away."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
