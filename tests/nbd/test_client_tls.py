"""The NBD client over TLS, against servers that others wrote."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import cowshed._kernel as kernel
from nbd.certificates import Authority
from nbd.peers import nbdkit, qemu_nbd

if not hasattr(kernel, "NbdClient"):
    pytest.skip("the compiled kernel is missing", allow_module_level=True)

from cowshed._kernel import ClientTls, KernelError, NbdClient

MIB = 1 << 20


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority.make(tmp_path_factory.mktemp("pki") / "good")
    made.server("localhost")
    return made


def _over_localhost(address: str) -> str:
    """The certificate's name is localhost."""
    return address.replace("127.0.0.1", "localhost")


def test_many_threads_over_tls(tmp_path: Path, authority: Authority) -> None:
    data = random.Random(3).randbytes(3 * MIB + 5)
    tls = ClientTls(ca=authority.ca)
    certificates = f"--tls-certificates={authority.directory}"
    with (
        nbdkit(tmp_path, "--tls=require", certificates, "memory", "64M", tcp=True) as running,
        NbdClient.connect(_over_localhost(running.address), "", tls=tls) as client,
        ThreadPoolExecutor(8) as pool,
    ):

        def work(i: int) -> bool:
            at = i * 8 * MIB
            for _ in range(5):
                client.write(at + 1, data)
                if client.read(at, len(data) + 2) != b"\0" + data + b"\0":
                    return False
            return True

        assert all(pool.map(work, range(8)))


def test_a_client_shows_its_certificate(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.client()
    arguments = ["--tls=require", "--tls-verify-peer", f"--tls-certificates={authority.directory}"]
    with nbdkit(tmp_path, *arguments, "memory", "1M", tcp=True) as running:
        address = _over_localhost(running.address)
        known = ClientTls(ca=authority.ca, certificate=certificate, key=key)
        with NbdClient.connect(address, "", tls=known) as client:
            assert client.read(0, 3) == bytes(3)
        with pytest.raises(KernelError):
            NbdClient.connect(address, "", tls=ClientTls(ca=authority.ca))


def test_qemu_over_tls(tmp_path: Path, authority: Authority) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(MIB))
    credentials = f"tls-creds-x509,id=tls0,endpoint=server,verify-peer=no,dir={authority.directory}"
    with (
        qemu_nbd(
            tmp_path, "-f", "raw", "--object", credentials, "--tls-creds=tls0", str(disk), tcp=True
        ) as running,
        NbdClient.connect(_over_localhost(running.address), "", tls=ClientTls(ca=authority.ca)) as client,
    ):
        client.write(7, b"seven")
        assert client.read(6, 7) == b"\0seven\0"


def test_whom_the_client_does_not_trust(tmp_path: Path, authority: Authority) -> None:
    other = Authority.make(tmp_path / "other")
    certificates = f"--tls-certificates={authority.directory}"
    with nbdkit(tmp_path, "--tls=require", certificates, "memory", "1M", tcp=True) as running:
        address = _over_localhost(running.address)
        for tls, what in [
            (ClientTls(ca=other.ca), "another authority"),
            (ClientTls(ca=authority.ca, server_name="elsewhere.example"), "another name"),
        ]:
            with pytest.raises(KernelError, match="certificate") as refused:
                NbdClient.connect(address, "", tls=tls)
            assert refused.value.kind == "refused", what
        with pytest.raises(KernelError, match="TLS") as refused:
            NbdClient.connect(address, "")
        assert refused.value.kind == "refused"


def test_a_server_without_tls_is_refused(tmp_path: Path, authority: Authority) -> None:
    with nbdkit(tmp_path, "memory", "1M") as running:
        with pytest.raises(KernelError, match="TLS") as refused:
            NbdClient.connect(running.address, "", tls=ClientTls(ca=authority.ca))
        assert refused.value.kind in ("refused", "invalid")


def test_files_that_are_no_certificates(tmp_path: Path, authority: Authority) -> None:
    nothing = tmp_path / "empty.pem"
    nothing.touch()
    for ca in (nothing, tmp_path / "missing.pem"):
        with pytest.raises(KernelError, match=str(ca)) as refused:
            ClientTls(ca=ca)
        assert refused.value.kind == "invalid"
    with pytest.raises(KernelError, match="go together"):
        ClientTls(ca=authority.ca, certificate=authority.ca)
