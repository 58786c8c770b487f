"""TCP: TLS, tokens and their roles, and who may name which disk."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest
import trustme

import cowshed
from cowshed.serve.api import _context
from serve.daemons import PATIENCE, Daemon, ask, run, serving

needs_nbdinfo = pytest.mark.skipif(
    not shutil.which("nbdinfo"), reason="needs nbdinfo (apt install libnbd-bin)"
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    with cowshed.open(path, create=True) as opened:
        opened.create_pool("vms")
        opened.create("disk", 1 << 20)
        opened.create("vms/disk", 1 << 20)
        opened.create_snapshot("disk@monday")
    return path


@dataclass
class Authority:
    """A private authority, and what it signed: a server's certificate, and a client's."""

    place: Path
    ca: trustme.CA

    def sign(self) -> None:
        """Give the server a new certificate."""
        made = self.ca.issue_cert("localhost", "127.0.0.1")
        made.private_key_pem.write_to_path(str(self.place / "key.pem"))
        (self.place / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))

    @property
    def words(self) -> list[str]:
        return ["--tls-cert", str(self.place / "cert.pem"), "--tls-key", str(self.place / "key.pem")]

    @property
    def file(self) -> str:
        return str(self.place / "ca-cert.pem")

    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context

    def client(self, name: str, *, signed_by: trustme.CA | None = None) -> Path:
        """A directory as libnbd and qemu want it."""
        place = self.place / name
        place.mkdir()
        self.ca.cert_pem.write_to_path(str(place / "ca-cert.pem"))
        if signed_by:
            made = signed_by.issue_cert(f"{name}@example.org")
            made.private_key_pem.write_to_path(str(place / "client-key.pem"))
            (place / "client-cert.pem").write_bytes(b"".join(b.bytes() for b in made.cert_chain_pems))
        return place


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    place = tmp_path / "tls"
    place.mkdir()
    made = Authority(place, trustme.CA())
    made.ca.cert_pem.write_to_path(made.file)
    made.sign()
    return made


@pytest.fixture
def secure(store: Path, authority: Authority) -> Iterator[Daemon]:
    with serving(store, "--listen", "127.0.0.1:0", *authority.words) as daemon:
        yield daemon
        assert daemon.end() == 0
        assert "Traceback" not in "\n".join(daemon.lines)


def token(store: Path, name: str, *words: object) -> str:
    return run(store, "token", "create", name, *words).strip()


def test_a_token_lets_in_and_its_role_bounds_it(secure: Daemon, store: Path, authority: Authority) -> None:
    trust = authority.trust()

    def status(method: str, path: str, who: str | None) -> int:
        return secure.ask_tcp(method, path, trust=trust, token=who).status

    # Made while the daemon runs: it knows them at the next request.
    read = token(store, "look", "--role", "read")
    operate = token(store, "work", "--role", "operate")
    admin = token(store, "root", "--role", "admin")
    cases = [
        ("GET", "/v1/images?pool=rbd", [401, 200, 200, 200]),
        ("GET", "/metrics", [401, 200, 200, 200]),
        ("DELETE", "/v1/images?spec=gone", [401, 403, 404, 404]),
        ("DELETE", "/v1/pools?name=gone", [401, 403, 403, 404]),
        ("GET", "/healthz", [200, 200, 200, 200]),
        ("GET", "/readyz", [200, 200, 200, 200]),
    ]
    for method, path, wanted in cases:
        assert [status(method, path, who) for who in (None, read, operate, admin)] == wanted, path
    refused = secure.ask_tcp("GET", "/v1/images?pool=rbd", trust=trust, token=read[:-1])
    assert refused.status == 401
    assert refused.json["error"]["class"] == "NotAuthenticated"
    assert "bearer" in refused.headers["www-authenticate"].lower()
    run(store, "token", "rm", "look")
    assert status("GET", "/v1/images?pool=rbd", read) == 401
    assert status("GET", "/v1/images?pool=rbd", operate) == 200
    # Who asked is written down; with what, never.
    assert secure.end() == 0
    said = "\n".join(secure.lines)
    assert "token work" in said
    for text in (read, operate, admin):
        assert text not in said
        assert text.removeprefix("cowshed_") not in said


def test_a_token_for_one_pool(secure: Daemon, store: Path, authority: Authority) -> None:
    one = token(store, "one", "--role", "operate", "--pool", "vms")

    def status(path: str) -> int:
        return secure.ask_tcp("GET", path, trust=authority.trust(), token=one).status

    assert status("/v1/images?pool=vms") == 200
    assert status("/v1/image?spec=vms/disk") == 200
    assert status("/v1/images?pool=rbd") == 403
    assert status("/v1/image?spec=disk") == 403
    assert status("/v1/store/usage") == 403
    assert status("/metrics") == 403


def test_without_tls_nothing_is_said(secure: Daemon) -> None:
    with pytest.raises((ConnectionError, OSError)):
        secure.ask_tcp("GET", "/healthz")


def test_the_servers_certificate_is_the_authoritys(secure: Daemon) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        secure.ask_tcp("GET", "/healthz", trust=ssl.create_default_context())


def test_old_tls_is_refused(secure: Daemon, authority: Authority) -> None:
    assert _context(authority.words[1], authority.words[3]).minimum_version == ssl.TLSVersion.TLSv1_2
    old = authority.trust()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        secure.ask_tcp("GET", "/healthz", trust=old)


def serial(daemon: Daemon, authority: Authority) -> str:
    with (
        socket.create_connection(("127.0.0.1", daemon.port("api")), PATIENCE) as plain,
        authority.trust().wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        found = secured.getpeercert()
        assert found
        return str(found["serialNumber"])


def test_a_hangup_takes_new_certificates(secure: Daemon, authority: Authority) -> None:
    first = serial(secure, authority)
    authority.sign()
    assert serial(secure, authority) == first
    secure.signal(signal.SIGHUP)
    secure.hear("RELOADING")
    secure.hear("READY")
    second = serial(secure, authority)
    assert second != first
    # What is no good is not taken, and said.
    (authority.place / "key.pem").write_text("nonsense")
    secure.signal(signal.SIGHUP)
    secure.hear("RELOADING")
    secure.hear("READY")
    assert "cannot be used" in secure.event("daemon.reload_failed")["message"]
    assert serial(secure, authority) == second


def test_tls_files_that_do_not_fit(store: Path, authority: Authority) -> None:
    other = trustme.CA().issue_cert("localhost")
    other.private_key_pem.write_to_path(str(authority.place / "key.pem"))
    said = run(store, "serve", "--listen", "127.0.0.1:0", *authority.words, status=22)
    assert "cannot be used" in said
    said = run(store, "serve", "--nbd-listen", "127.0.0.1:0", *authority.words, status=22)
    assert "TLS" in said
    assert {each.name for each in store.iterdir()} == {"blocks", "catalog", "lock", "reserve"}


def test_a_key_with_a_password_asks_no_one(store: Path, authority: Authority) -> None:
    from cryptography.hazmat.primitives import serialization as how

    path = authority.place / "key.pem"
    key = how.load_pem_private_key(path.read_bytes(), None)
    path.write_bytes(
        key.private_bytes(
            how.Encoding.PEM, how.PrivateFormat.PKCS8, how.BestAvailableEncryption(b"a password")
        )
    )
    said = run(store, "serve", "--listen", "127.0.0.1:0", *authority.words, status=22)
    assert "has a password" in said


def test_insecure_on_loopback_still_wants_tokens(store: Path) -> None:
    with serving(store, "--listen", "127.0.0.1:0", "--insecure") as daemon:
        assert daemon.ask_tcp("GET", "/v1/pools").status == 401
        known = token(store, "a", "--role", "read")
        assert daemon.ask_tcp("GET", "/v1/pools", token=known).status == 200
        # Nothing that a client sends makes it the control socket's.
        for headers in ({"Host": "localhost"}, {"X-Forwarded-For": "127.0.0.1"}, {"Cowshed-Control": "1"}):
            connection = HTTPConnection("127.0.0.1", daemon.port("api"), timeout=PATIENCE)
            assert ask(connection, "GET", "/v1/pools", **headers).status == 401
        assert daemon.end() == 0


# --- NBD


def nbdinfo(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["nbdinfo", *words], capture_output=True, text=True, timeout=PATIENCE, check=False)


@needs_nbdinfo
def test_over_the_unix_socket_names_are_open(secure: Daemon, store: Path) -> None:
    where = f"?socket={store}/nbd.sock"
    listed = nbdinfo("--list", f"nbd+unix:///{where}")
    assert 'export="rbd/disk"' in listed.stdout
    assert nbdinfo("--size", f"nbd+unix:///rbd/disk{where}").stdout == "1048576\n"
    assert "is_read_only: true" in nbdinfo(f"nbd+unix:///rbd/disk@monday{where}").stdout
    assert nbdinfo("--size", f"nbd+unix:///rbd/gone{where}").returncode != 0
    connected = [e for e in secure.events if e["event"] == "nbd.connected"]
    assert "rbd/disk" in [e["export"] for e in connected]
    assert secure.event("nbd.refused")["export"] == "rbd/gone"
    secure.event("nbd.disconnected")


@needs_nbdinfo
def test_over_tcp_a_certificate_decides(store: Path, authority: Authority) -> None:
    known = authority.client("known", signed_by=authority.ca)
    nobody = authority.client("nobody")
    stranger = authority.client("stranger", signed_by=trustme.CA())
    words = ("--nbd-listen", "127.0.0.1:0", *authority.words, "--tls-client-ca", authority.file)
    with serving(store, *words) as daemon:
        at = f"localhost:{daemon.port('nbd')}"
        assert nbdinfo("--size", f"nbds://{at}/rbd/disk?tls-certificates={known}").stdout == "1048576\n"
        for other in (nobody, stranger):
            assert nbdinfo("--size", f"nbds://{at}/rbd/disk?tls-certificates={other}").returncode != 0
        assert nbdinfo("--size", f"nbd://{at}/rbd/disk").returncode != 0
        # A hangup takes another authority, for the connections to come.
        other_ca = trustme.CA()
        other_ca.cert_pem.write_to_path(authority.file)
        daemon.signal(signal.SIGHUP)
        daemon.hear("RELOADING")
        daemon.hear("READY")
        assert nbdinfo("--size", f"nbds://{at}/rbd/disk?tls-certificates={known}").returncode != 0
        assert daemon.end() == 0


@needs_nbdinfo
def test_over_tcp_without_certificates_only_handles_are_served(store: Path, authority: Authority) -> None:
    anyone = authority.client("anyone")
    with serving(store, "--nbd-listen", "127.0.0.1:0", *authority.words) as daemon:
        at = f"localhost:{daemon.port('nbd')}"
        tls = f"?tls-certificates={anyone}"
        refused = nbdinfo("--size", f"nbds://{at}/rbd/disk{tls}")
        assert refused.returncode != 0
        assert "not served by their names" in daemon.event("nbd.refused")["why"]
        assert "rbd/disk" not in nbdinfo("--list", f"nbds://{at}/{tls}").stdout
        handle = daemon.ask("POST", "/v1/handles", {"spec": "disk", "read_only": True}).json
        assert nbdinfo("--size", f"nbds://{at}/{handle['export']}{tls}").stdout == "1048576\n"
        assert nbdinfo("--size", f"nbd://{at}/{handle['export']}").returncode != 0
        # The Unix socket is as it was.
        assert 'export="rbd/disk"' in nbdinfo("--list", f"nbd+unix:///?socket={store}/nbd.sock").stdout
        assert daemon.end() == 0
    secret = handle["export"].removeprefix(".handle/")
    assert secret not in "\n".join(daemon.lines)


@needs_nbdinfo
def test_hidden_exports_are_there_for_those_who_know(store: Path) -> None:
    with serving(store, "--nbd-hidden") as daemon:
        where = f"?socket={store}/nbd.sock"
        assert "rbd/disk" not in nbdinfo("--list", f"nbd+unix:///{where}").stdout
        assert nbdinfo("--size", f"nbd+unix:///rbd/disk{where}").stdout == "1048576\n"
        assert daemon.end() == 0
