"""`cowshed://HOST:PORT`: a daemon on another machine, by TLS and with a token."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

import cowshed
from cowshed.errors import CowshedError, IOFailure, PermissionDenied, UnsupportedTarget
from cowshed.opening import open_directly
from cowshed.remote import RemoteStore
from serve.daemons import Daemon, run, serving

MIB = 1 << 20


@dataclass
class Away:
    """A daemon that listens on TCP, and what is needed to use it."""

    path: Path
    daemon: Daemon
    ca: Path

    def token(self, role: str) -> Path:
        """A file with a token of that role."""
        file = self.ca.parent / f"token-{role}"
        if not file.exists():
            file.write_text(run(self.path, "token", "create", role, "--role", role))
        return file

    def target(self, role: str = "admin", *, host: str = "localhost", ca: Path | None = None) -> str:
        port = self.daemon.port("api")
        return f"cowshed://{host}:{port}?ca={ca or self.ca}&token-file={self.token(role)}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the authority `ca.pem`, and the server's `cert.pem` and `key.pem`."""
    place = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    made = ca.issue_cert("localhost", "127.0.0.1")
    ca.cert_pem.write_to_path(str(place / "ca.pem"))
    made.private_key_pem.write_to_path(str(place / "key.pem"))
    made.cert_chain_pems[0].write_to_path(str(place / "cert.pem"))
    own = ca.issue_cert("client@example.org")
    own.private_key_pem.write_to_path(str(place / "client-key.pem"))
    own.cert_chain_pems[0].write_to_path(str(place / "client.pem"))
    trustme.CA().cert_pem.write_to_path(str(place / "other.pem"))
    return place


@pytest.fixture
def away(tmp_path: Path, authority: Path) -> Iterator[Away]:
    path = tmp_path / "store"
    open_directly(path, create=True).close()
    tls = ("--tls-cert", authority / "cert.pem", "--tls-key", authority / "key.pem")
    (tmp_path / "ca.pem").write_bytes((authority / "ca.pem").read_bytes())
    with serving(path, "--listen", "127.0.0.1:0", "--nbd-listen", "127.0.0.1:0", *tls) as daemon:
        yield Away(path, daemon, tmp_path / "ca.pem")


def test_everything_goes_over_tls(away: Away) -> None:
    data = random.Random(1).randbytes(3 * MIB)
    with cowshed.open(away.target()) as store:
        assert isinstance(store, RemoteStore)
        assert store.target == f"cowshed://localhost:{away.daemon.port('api')}"
        store.create("a", 8 * MIB)
        with store.open("a") as image:
            image.write(5, data)
            assert image.read(5, len(data)) == data
        store.create_snapshot("a@1")
        seen: list[tuple[int, int]] = []
        store.remove_snapshot("a@1", progress=lambda *step: seen.append(step))
        assert seen
        assert store.check() == []
    with cowshed.open(away.path) as here, here.open("a") as image:
        assert image.read(5, len(data)) == data


def test_who_is_not_known_or_may_not(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COWSHED_TOKEN", raising=False)
    port = away.daemon.port("api")
    with pytest.raises(CowshedError, match="token") as raised:
        cowshed.open(f"cowshed://localhost:{port}?ca={away.ca}")
    assert type(raised.value).__name__ == "NotAuthenticated"
    monkeypatch.setenv("COWSHED_TOKEN", away.token("operate").read_text())
    with cowshed.open(f"cowshed://localhost:{port}?ca={away.ca}") as store:
        store.create("a", MIB)
        with pytest.raises(PermissionDenied, match="admin"):
            store.create_pool("p")
    with cowshed.open(away.target("read")) as store:
        assert list(store.images("rbd")) == ["a"]
        with pytest.raises(PermissionDenied):
            store.open("a")
        with store.open("a", read_only=True) as image:
            assert image.read(0, 1) == b"\0"


def test_a_certificate_that_is_not_trusted(away: Away, authority: Path) -> None:
    with pytest.raises(IOFailure, match="not trusted here") as raised:
        cowshed.open(away.target(ca=authority / "other.pem"))
    assert "?ca=FILE" in str(raised.value.hint)
    with pytest.raises(CowshedError, match=r"no_ca|reading|certificate"):
        cowshed.open(away.target(ca=authority / "key.pem"))


def test_no_one_there(away: Away) -> None:
    target = away.target()
    away.daemon.end()
    with pytest.raises(IOFailure, match="cannot reach the daemon at localhost") as raised:
        cowshed.open(target)
    assert "listens" in str(raised.value.hint)
    with pytest.raises(IOFailure, match=r"cannot reach the daemon at nowhere\.invalid"):
        cowshed.open("cowshed://nowhere.invalid:1")


def test_a_daemon_without_disks_on_tcp(tmp_path: Path, authority: Path) -> None:
    path = tmp_path / "store"
    open_directly(path, create=True).close()
    with serving(path, "--listen", "127.0.0.1:0", "--insecure") as daemon:
        token = run(path, "token", "create", "root", "--role", "admin").strip()
        (tmp_path / "token").write_text(token)
        target = f"cowshed://127.0.0.1:{daemon.port('api')}?insecure=yes&token-file={tmp_path}/token"
        with cowshed.open(target) as store:
            store.create("a", MIB)
            with store.open("a") as image:
                # All that needs no data goes.
                assert image.size == MIB
                for use in (lambda: image.read(0, 1), lambda: image.write(0, b"x")):
                    with pytest.raises(UnsupportedTarget, match="its own machine only") as raised:
                        use()
                    assert "--nbd-listen" in str(raised.value.hint)
            assert store.watchers("a") == []
        with pytest.raises(IOFailure, match="does not speak TLS"):
            cowshed.open(target.replace("insecure=yes", "insecure=no"))


def test_a_daemon_that_asks_for_certificates_where_disks_are(tmp_path: Path, authority: Path) -> None:
    path = tmp_path / "store"
    open_directly(path, create=True).close()
    tls = ("--tls-cert", authority / "cert.pem", "--tls-key", authority / "key.pem")
    words = (
        "--listen",
        "127.0.0.1:0",
        "--nbd-listen",
        "127.0.0.1:0",
        "--tls-client-ca",
        authority / "ca.pem",
    )
    with serving(path, *words, *tls) as daemon:
        (tmp_path / "token").write_text(run(path, "token", "create", "root", "--role", "admin"))
        port = daemon.port("api")
        target = f"cowshed://localhost:{port}?ca={authority}/ca.pem&token-file={tmp_path}/token"
        with cowshed.open(target) as store:
            store.create("a", MIB)
            with store.open("a") as image:
                with pytest.raises(IOFailure, match="cannot reach the NBD server") as raised:
                    image.read(0, 1)
                assert "?cert=FILE&key=FILE" in str(raised.value.hint)
            assert store.watchers("a") == []
        own = f"&cert={authority}/client.pem&key={authority}/client-key.pem"
        with cowshed.open(target + own) as store, store.open("a") as image:
            image.write(0, b"x")
            assert image.read(0, 2) == b"x\0"
