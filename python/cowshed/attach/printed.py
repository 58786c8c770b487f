"""What qemu and libvirt are told to use an image as a disk, through the NBD server; nothing is touched."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any
from zlib import crc32

from cowshed.attach import FORMS
from cowshed.attach.server import LONGEST_SOCKET, Server
from cowshed.errors import InvalidArgument
from cowshed.store import ImageSpec, SnapSpec

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_CREDENTIALS = "cowshed-tls"


def printed(form: str, spec: ImageSpec | SnapSpec, server: Server, *, read_only: bool = False) -> str:
    """The settings in one of FORMS, without a newline at the end. A snapshot is read-only in any case.

    Raises InvalidArgument for a socket whose path is too long for qemu.
    """
    if len(server.path.encode()) > LONGEST_SOCKET:
        raise InvalidArgument(
            f"qemu takes a socket's path of {LONGEST_SOCKET} bytes at most, and {server.path} is longer",
            hint="`cowshed serve --nbd-socket` names another one, and --nbd here",
        )
    read_only = read_only or isinstance(spec, SnapSpec)
    if form == "qemu":
        return _drive(str(spec), server, read_only)
    if form == "blockdev":
        return json.dumps(blockdev(str(spec), server, read_only=read_only))
    if form == "libvirt":
        return _libvirt(str(spec), server, read_only)
    raise InvalidArgument(f"nothing is printed as '{form}'", hint=f"one of {', '.join(FORMS)}")


def blockdev(export: str, server: Server, *, read_only: bool) -> dict[str, Any]:
    """The block node, as qemu's QAPI has it: for `-blockdev`, `blockdev-add` and `json:` names."""
    address: dict[str, Any]
    if server.path:
        address = {"type": "unix", "path": server.path}
    else:
        address = {"type": "inet", "host": server.host, "port": str(server.port)}
    node = {
        "driver": "nbd",
        # Names of nodes are short, and of few letters.
        "node-name": f"cowshed-{crc32(export.encode()):08x}",
        "server": address,
        "export": export,
        "read-only": read_only,
        "discard": "unmap",
        "detect-zeroes": "unmap",
        "cache": {"direct": True, "no-flush": False},
    }
    if server.tls:
        node["tls-creds"] = _CREDENTIALS
    return node


def _drive(export: str, server: Server, read_only: bool) -> str:
    options = {"driver": "raw", "file.driver": "nbd"}
    if server.path:
        options |= {"file.server.type": "unix", "file.server.path": server.path}
    else:
        port = str(server.port)
        options |= {"file.server.type": "inet", "file.server.host": server.host, "file.server.port": port}
    options |= {"file.export": export}
    if server.tls:
        options |= {"file.tls-creds": _CREDENTIALS}
    options |= {"if": "virtio", "cache": "none", "discard": "unmap", "detect-zeroes": "unmap"}
    if read_only:
        options |= {"readonly": "on"}
    drive = f"-drive {_words(options)}"
    if not server.tls:
        return drive
    credentials = {"id": _CREDENTIALS, "endpoint": "client", "dir": server.tls}
    return f"-object {_words(credentials, first='tls-creds-x509')} {drive}"


def _words(options: dict[str, str], first: str = "") -> str:
    """One word for a shell; within it, qemu takes a comma that is written twice for one."""
    pairs = [f"{key}={value.replace(',', ',,')}" for key, value in options.items()]
    return shlex.quote(",".join([first, *pairs] if first else pairs))


def shown_at(export: str, server: Server) -> Element:
    """The source of libvirt's disk."""
    from xml.etree.ElementTree import Element, SubElement

    source = Element("source", protocol="nbd", name=export)
    if server.tls:
        source.set("tls", "yes")
    if server.path:
        SubElement(source, "host", transport="unix", socket=server.path)
    else:
        SubElement(source, "host", name=server.host, port=str(server.port))
    return source


def _libvirt(export: str, server: Server, read_only: bool) -> str:
    from xml.etree import ElementTree
    from xml.etree.ElementTree import SubElement

    disk = ElementTree.Element("disk", type="network", device="disk")
    SubElement(disk, "driver", name="qemu", type="raw", cache="none", discard="unmap", detect_zeroes="unmap")
    disk.append(shown_at(export, server))
    SubElement(disk, "target", dev="vda", bus="virtio")
    if read_only:
        SubElement(disk, "readonly")
    ElementTree.indent(disk)
    return ElementTree.tostring(disk, encoding="unicode")
