"""`cowshed compat disk`: what Nova and Cinder call an rbd disk, as one that a guest boots from and writes."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

import cowshed
from compat.entering import clustered
from compat.guests import copied, disk, run_by_libvirt, run_by_qemu
from cowshed.attach.rbd_disks import as_nbd
from cowshed.attach.server import Server
from cowshed.errors import FormatError, InvalidArgument
from nbd.certificates import Authority
from serve.daemons import COMMAND, environment, run

NOVA = """\
<disk type="network" device="disk">
  <driver type="raw" cache="writeback" discard="unmap"/>
  <source protocol="rbd" name="rbd/disk">
    <host name="127.0.0.1" port="6789"/>
  </source>
  <auth username="nova">
    <secret type="ceph" uuid="457eb676-33da-42ec-9a8c-9293d545c337"/>
  </auth>
  <target dev="vda" bus="virtio"/>
  <serial>volume-1</serial>
</disk>
"""
"""As Nova 34 writes it, for its own disks and for volumes."""
CINDER = {
    "driver_volume_type": "rbd",
    "data": {
        "name": "rbd/disk",
        "hosts": ["127.0.0.1"],
        "ports": ["6789"],
        "cluster_name": "ceph",
        "auth_enabled": True,
        "auth_username": "cinder",
        "secret_type": "ceph",
        "secret_uuid": "457eb676-33da-42ec-9a8c-9293d545c337",
        "volume_id": "1",
        "discard": True,
        "qos_specs": None,
        "access_mode": "rw",
    },
}
"""As Cinder 29's driver and manager make it."""
SOCKET = Server(path="/run/cows/nbd.sock")


@dataclass
class Place:
    """A store with the disk `rbd/disk`, served."""

    store: Path
    words: tuple[str, ...]
    """Of the command line: where its disks are."""
    certificates: Path | None

    def said(self, text: str, *words: str) -> str:
        """What the command prints for it."""
        return subprocess.run(
            [*COMMAND, "--store", str(self.store), "compat", "disk", "-", *words, *self.words],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            env=environment(),
        ).stdout

    def content(self) -> bytes:
        with cowshed.open(self.store) as store, store.open("disk", read_only=True) as image:
            return bytes(image.read(0, image.size))


@pytest.fixture(scope="module", params=["socket", "tls"])
def served(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Place]:
    tmp_path = tmp_path_factory.mktemp("served")
    words: tuple[str, ...] = ()
    certificates = None
    if request.param == "tls":
        authority = Authority.make(tmp_path / "pki")
        authority.server("localhost")
        authority.client()
        certificates = authority.directory
        words = (
            "--tls-cert",
            f"{certificates}/server-cert.pem",
            "--tls-key",
            f"{certificates}/server-key.pem",
        )
        words += ("--tls-client-ca", str(authority.ca))
    with clustered(tmp_path, *words) as cluster:
        where: tuple[str, ...] = ()
        if certificates:
            where = ("--nbd", f"tcp:localhost:{cluster.daemon.port('nbd')}", "--tls-dir", str(certificates))
        yield Place(cluster.store, where, certificates)


@pytest.fixture
def place(served: Place) -> Iterator[Place]:
    """The same, with a new disk."""
    content = disk(b"a guest was here")
    with cowshed.open(served.store) as store:
        store.create("disk", len(content))
        with store.open("disk") as image:
            image.write(0, content)
        yield served
        store.remove("disk")


def test_qemu_boots_from_cinder_s_connection(place: Place) -> None:
    run_by_qemu(shlex.split(place.said(json.dumps(CINDER), "--print", "qemu")))
    assert copied(place.content()) == b"a guest was here"


def test_libvirt_boots_from_nova_s_disk(place: Place) -> None:
    run_by_libvirt(place.said(NOVA), place.certificates)
    assert copied(place.content()) == b"a guest was here"


def test_libvirt_boots_from_cinder_s_connection(place: Place) -> None:
    run_by_libvirt(place.said(json.dumps(CINDER)), place.certificates)
    assert copied(place.content()) == b"a guest was here"


def test_qemu_s_tools_open_a_connection(place: Place) -> None:
    if place.certificates:
        pytest.skip("a name alone cannot hold the certificates")
    if shutil.which("qemu-img") is None:
        pytest.skip("there is no qemu-img here (apt-get install qemu-utils)")
    name = "json:" + place.said(json.dumps(CINDER), "--print", "blockdev").strip()
    told = subprocess.run(["qemu-img", "info", "--output=json", name], capture_output=True, check=True).stdout
    assert json.loads(told)["virtual-size"] == 1 << 20


def test_only_the_source_changes() -> None:
    turned = ElementTree.fromstring(as_nbd(NOVA, SOCKET))
    expected = ElementTree.fromstring(NOVA)
    auth, source = expected.find("auth"), expected.find("source")
    assert auth is not None
    assert source is not None
    expected.remove(auth)
    source.clear()
    source.attrib = {"protocol": "nbd", "name": "rbd/disk"}
    ElementTree.SubElement(source, "host", transport="unix", socket=SOCKET.path)
    assert _plain(turned) == _plain(expected)


def _plain(element: ElementTree.Element) -> object:
    text = (element.text or "").strip()
    return element.tag, sorted(element.attrib.items()), text, [_plain(child) for child in element]


def test_every_rbd_disk_of_a_domain_and_nothing_else() -> None:
    nova = "http://openstack.org/xmlns/libvirt/nova/1.1"
    other = '<disk type="file"><source file="/x"/><auth username="kept"/><target dev="vdc"/></disk>'
    snapshot = (
        '<disk type="network"><source protocol="rbd" name="vms/blue/b"><snapshot name="s"/>'
        '<config file="/etc/ceph/ceph.conf"/><encryption format="luks"/></source><target dev="vdb"/></disk>'
    )
    text = (
        f"<domain><metadata><nova:instance xmlns:nova='{nova}'/></metadata>"
        f"<devices>{NOVA}{snapshot}{other}</devices></domain>"
    )
    turned = as_nbd(text, Server(host="::1", port=10809, tls="/pki"))
    assert "<nova:instance" in turned
    first, second, third = (element.find("source") for element in ElementTree.fromstring(turned).iter("disk"))
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.attrib == {"protocol": "nbd", "name": "rbd/disk", "tls": "yes"}
    assert [(child.tag, child.attrib) for child in first] == [("host", {"name": "::1", "port": "10809"})]
    assert second.attrib["name"] == "vms/blue/b@s"
    assert [child.tag for child in second] == ["host", "encryption"]
    assert third.attrib == {"file": "/x"}
    assert turned.count("<auth") == 1


def test_a_connection_that_may_only_read() -> None:
    only = {**CINDER, "data": {"name": "volumes/v", "access_mode": "ro"}}
    assert json.loads(as_nbd(json.dumps(only), SOCKET, "blockdev"))["read-only"] is True
    assert json.loads(as_nbd('{"name": "volumes/v"}', SOCKET, "blockdev"))["read-only"] is False


@pytest.mark.parametrize(
    ("text", "form", "error"),
    [
        ("", "libvirt", FormatError),
        ("<disk>", "libvirt", FormatError),
        ("[]", "libvirt", FormatError),
        ('{"data": {"name": 5}}', "qemu", FormatError),
        ('{"driver_volume_type": "iscsi", "data": {"name": "a/b"}}', "qemu", InvalidArgument),
        (NOVA, "qemu", InvalidArgument),
        ("<d><source protocol='rbd' name='a/b/c/d'/></d>", "libvirt", InvalidArgument),
        (
            "<d><source protocol='rbd' name='a/b'><encryption engine='librbd'/></source></d>",
            "libvirt",
            InvalidArgument,
        ),
    ],
)
def test_what_cannot_be_turned_over(text: str, form: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        as_nbd(text, SOCKET, form)


def test_complaints_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "no").write_bytes(b"\xff<disk/>")
    words = ("compat", "disk", "--nbd", "unix:/x")
    assert "UTF-8" in run(tmp_path, *words, tmp_path / "no", status=FormatError.errno)
    assert "missing" in run(tmp_path, *words, tmp_path / "missing", status=2)
