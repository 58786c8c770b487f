"""Disks as Nova and Cinder hand them to a guest, by Ceph's protocol: the same ones as NBD exports.

What they say is the data of an RBD connection (Cinder's `initialize_connection`), or the XML that Nova makes
of it for libvirt. QEMU would open either by C librbd, which knows no cowshed.
"""

from __future__ import annotations

import io
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cowshed.attach.printed import printed, shown_at
from cowshed.attach.server import Server
from cowshed.errors import FormatError, InvalidArgument
from cowshed.store import ImageSpec, SnapSpec, parse_spec

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_CLUSTER_ONLY = {"host", "auth", "snapshot", "config"}
"""What a source of libvirt's holds for a cluster, and an NBD export has no use for."""


def as_nbd(text: str, server: Server, form: str = "libvirt") -> str:
    """What a guest is given instead of `text`.

    XML of libvirt's, a disk or a whole domain, comes back with the disks in it turned over; the JSON of a
    connection becomes a disk in one of FORMS. Raises FormatError, and InvalidArgument for a disk that NBD
    cannot show.
    """
    if text.lstrip().startswith("<"):
        if form != "libvirt":
            raise InvalidArgument(
                "libvirt's XML stays libvirt's XML", hint=f"give {form} a connection's JSON"
            )
        return _rewritten(text, server)
    try:
        connection = json.loads(text)
    except ValueError as error:
        raise FormatError(f"this is neither XML nor JSON: {error}") from None
    spec, read_only = _connected(connection)
    return printed(form, spec, server, read_only=read_only)


def _connected(connection: Any) -> tuple[ImageSpec | SnapSpec, bool]:
    """The image of a connection, and whether it may only be read. Raises FormatError, InvalidArgument."""
    whole: dict[str, Any] = connection if isinstance(connection, dict) else {}
    kind = whole.get("driver_volume_type", "rbd")
    if kind != "rbd":
        raise InvalidArgument(f"the connection is one by {kind}, and not by rbd")
    data = whole.get("data", whole)
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str):
        raise FormatError("this is no connection to an rbd disk", hint="it has driver_volume_type and data")
    return parse_spec(name), data.get("access_mode") == "ro"


def _rewritten(text: str, server: Server) -> str:
    from xml.etree import ElementTree

    try:
        for _, (prefix, uri) in ElementTree.iterparse(io.StringIO(text), events=["start-ns"]):
            # Kept as they are called; a name such as `ns0` is ElementTree's own.
            with suppress(ValueError):
                ElementTree.register_namespace(prefix, uri)
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise FormatError(f"this is no XML: {error}") from None
    for parent in [*root.iter()]:
        for source in parent.findall("source"):
            if source.get("protocol") == "rbd":
                _turn_over(source, server)
                for auth in parent.findall("auth"):
                    parent.remove(auth)
    return ElementTree.tostring(root, encoding="unicode")


def _turn_over(source: Element, server: Server) -> None:
    """A source of libvirt's becomes that of the NBD export. Raises InvalidArgument."""
    name = source.get("name", "")
    snapshot = source.find("snapshot")
    spec = parse_spec(name if snapshot is None else f"{name}@{snapshot.get('name', '')}")
    for encryption in source.findall("encryption"):
        if encryption.get("engine") == "librbd":
            raise InvalidArgument(
                f"the disk '{spec}' is decrypted by librbd", hint="engine='qemu' does it above any protocol"
            )
    for child in [*source]:
        if child.tag in _CLUSTER_ONLY:
            source.remove(child)
    shown = shown_at(str(spec), server)
    source.attrib.pop("tls", None)
    source.attrib.update(shown.attrib)
    source[:0] = [*shown]
