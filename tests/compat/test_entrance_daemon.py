"""Into a real daemon by an address and a key alone, and what keeps others out."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

import cowshed
from compat.entering import LOOPBACK, Cluster, clustered
from cowshed.compat.conf import Conf
from cowshed.compat.entrance import connect
from cowshed.compat.keyring import Key, find_key
from cowshed.errors import InvalidArgument, IOFailure, NotAuthenticated, PermissionDenied, UnsupportedTarget
from cowshed.opening import open_directly
from cowshed.serve.certificate import CERTIFICATE, KEY, fingerprint, own_certificate
from serve.daemons import run, serving

MIB = 1 << 20


@pytest.fixture(params=["tls", "insecure"])
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with clustered(tmp_path, *(["--insecure"] if request.param == "insecure" else [])) as found:
        yield found


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[Cluster]:
    with clustered(tmp_path) as found:
        yield found


def test_address_and_keyring_are_enough(cluster: Cluster) -> None:
    data = random.Random(7).randbytes(3 * MIB)
    conf = Conf(id="cinder")
    conf.read_file(cluster.conf("cinder"))
    with connect(conf.get("mon_host") or "", find_key(conf)) as store:
        store.create("a", 8 * MIB)
        with store.open("a") as image:
            image.write(3, data)
            assert image.read(3, len(data)) == data
        with pytest.raises(PermissionDenied):
            store.create_pool("p")
    with cowshed.open(cluster.store) as here, here.open("a") as image:
        assert image.read(3, len(data)) == data


def test_the_key_has_the_daemons_fingerprint_where_it_has_tls(cluster: Cluster) -> None:
    known = Key.parse(cluster.key("cinder")).fingerprint
    shown = ssl.create_default_context()
    shown.check_hostname, shown.verify_mode = False, ssl.CERT_NONE
    if known is None:
        assert not (cluster.store / CERTIFICATE).exists()
        return
    with (
        socket.create_connection(("127.0.0.1", cluster.daemon.port("api"))) as plain,
        shown.wrap_socket(plain) as wrapped,
    ):
        assert hashlib.sha256(wrapped.getpeercert(binary_form=True) or b"").digest() == known
    assert (cluster.store / KEY).stat().st_mode & 0o777 == 0o600


def test_another_key_is_refused(cluster: Cluster) -> None:
    key = Key.parse(cluster.key("cinder"))
    with pytest.raises(NotAuthenticated):
        connect(cluster.mon_host, Key("cowshed_" + "A" * 43, key.fingerprint))
    run(cluster.store, "token", "rm", "client.cinder")
    with pytest.raises(NotAuthenticated):
        connect(cluster.mon_host, key)


def test_a_key_for_some_pools_is_held_to_them(encrypted: Cluster) -> None:
    run(encrypted.store, "pool", "create", "images")
    run(encrypted.store, "create", "rbd/private", "--size", "1M")
    with connect(encrypted.mon_host, encrypted.key("glance", "--pool", "images")) as store:
        store.create("images/a", MIB)
        with pytest.raises(PermissionDenied):
            store.stat("rbd/private")


def test_renewing_ends_the_key_before(encrypted: Cluster) -> None:
    old = encrypted.key("cinder")
    assert "client.cinder" in run(encrypted.store, "compat", "keyring", "--id", "cinder", status=17)
    connect(encrypted.mon_host, old).close()
    run(encrypted.store, "compat", "keyring", "--id", "client.cinder", "--renew")
    with pytest.raises(NotAuthenticated):
        connect(encrypted.mon_host, old)


@contextmanager
def impostor(place: Path) -> Iterator[tuple[str, list[bytes]]]:
    """A server with a certificate of its own; its address, and what was said to it after the handshake."""
    made = trustme.CA().issue_cert("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.configure_cert(context)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        try:
                            with context.wrap_socket(connection, server_side=True) as wrapped:
                                while piece := wrapped.recv(4096):
                                    heard.append(piece)
                        except OSError:
                            pass
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", heard
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_who_is_not_known_hears_nothing(encrypted: Cluster, tmp_path: Path) -> None:
    key = encrypted.key("cinder")
    with impostor(tmp_path) as (address, heard):
        with pytest.raises(IOFailure, match="another certificate"):
            connect(address, key)
        # The daemon itself is the second address.
        with connect(f"{address},{encrypted.mon_host}/0", key) as store:
            assert [pool.name for pool in store.pools()] == ["rbd"]
    assert heard == []


def test_disks_are_refused_by_another_certificate(encrypted: Cluster, tmp_path: Path) -> None:
    """The API's server is the known one, and what answers where disks are is not."""
    key = Key.parse(encrypted.key("cinder"))
    with connect(encrypted.mon_host, key) as store:
        store.create("a", MIB)
        assert key.fingerprint is not None
        object.__setattr__(store.endpoint, "fingerprint", bytes(reversed(key.fingerprint)))
        with store.open("a") as image, pytest.raises(PermissionDenied, match="no TLS with the NBD server"):
            image.read(0, 1)
        object.__setattr__(store.endpoint, "fingerprint", key.fingerprint)
        with store.open("a") as image:
            assert image.read(0, 1) == b"\0"


def test_a_changed_certificate_is_not_believed(tmp_path: Path) -> None:
    with clustered(tmp_path) as cluster:
        key = cluster.key("cinder")
        cluster.daemon.end()
        shutil.move(cluster.store / CERTIFICATE, tmp_path)
    with serving(cluster.store, *LOOPBACK) as daemon:
        changed = Cluster(cluster.store, daemon, tmp_path)
        with pytest.raises(IOFailure, match="another certificate") as caught:
            connect(changed.mon_host, key)
        assert "new key" in str(caught.value.hint)
        connect(changed.mon_host, changed.key("glance")).close()


def test_the_certificate_stays_the_same(tmp_path: Path) -> None:
    with clustered(tmp_path) as cluster:
        key = cluster.key("cinder")
        cluster.daemon.end()
    with serving(cluster.store, *LOOPBACK) as daemon:
        connect(Cluster(cluster.store, daemon, tmp_path).mon_host, key).close()


def test_the_operators_own_certificate_is_known_too(tmp_path: Path) -> None:
    made = trustme.CA().issue_cert("store1.example.org")
    made.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    for n, pem in enumerate(made.cert_chain_pems):
        pem.write_to_path(str(tmp_path / "cert.pem"), append=n > 0)
    words = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    with clustered(tmp_path, *words) as cluster, connect(cluster.mon_host, cluster.key("cinder")) as store:
        assert not (cluster.store / CERTIFICATE).exists()
        store.create("a", MIB)
        with store.open("a") as image:
            image.write(0, b"x")


def test_a_key_made_before_the_daemon_fits_it(tmp_path: Path) -> None:
    store = tmp_path / "store"
    open_directly(store, create=True).close()
    text = run(store, "compat", "keyring", "--id", "nova")
    key = re.search(r"key = (\S+)", text)
    assert key
    with serving(store, *LOOPBACK) as daemon:
        connect(Cluster(store, daemon, tmp_path).mon_host, key[1]).close()


def test_a_key_without_fingerprint_stays_on_this_machine() -> None:
    with pytest.raises(InvalidArgument, match="another machine"):
        connect("192.0.2.1:6789", Key("cowshed_x", None))


def test_no_one_there(encrypted: Cluster) -> None:
    key, address = encrypted.key("cinder"), encrypted.mon_host
    encrypted.daemon.end()
    with pytest.raises(IOFailure, match="cannot reach the daemon at"):
        connect(address, key)
    with pytest.raises(IOFailure, match=r"none of 127.*cannot reach"):
        connect(f"{address},127.0.0.1:1", key)


def test_a_daemon_that_serves_no_disks_over_tcp(tmp_path: Path) -> None:
    store = tmp_path / "store"
    open_directly(store, create=True).close()
    with serving(store, *LOOPBACK[:2]) as daemon:
        cluster = Cluster(store, daemon, tmp_path)
        with connect(cluster.mon_host, cluster.key("cinder")) as entered:
            entered.create("a", MIB)
            with (
                entered.open("a") as image,
                pytest.raises(UnsupportedTarget, match="its own machine only"),
            ):
                image.read(0, 1)


def test_a_target_may_name_the_fingerprint(encrypted: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    key = Key.parse(encrypted.key("cinder"))
    assert key.fingerprint
    monkeypatch.setenv("COWSHED_TOKEN", key.token)
    target = f"cowshed://{encrypted.mon_host}?fingerprint="
    with cowshed.open(target + key.fingerprint.hex(":")) as store:
        assert store.pool_stats("rbd").images == 0
    with pytest.raises(IOFailure, match="another certificate"):
        cowshed.open(target + "0" * 64)
    with pytest.raises(InvalidArgument, match="64 hexadecimal"):
        cowshed.open(target + "00")
    with pytest.raises(InvalidArgument, match="fingerprint and insecure"):
        cowshed.open(target + "0" * 64 + "&insecure=yes")


def test_what_a_daemon_says_of_itself(cluster: Cluster) -> None:
    with connect(cluster.mon_host, cluster.key("cinder")) as store:
        known = Key.parse(cluster.key("cinder")).fingerprint
        assert store.daemon.certificate == (known.hex() if known else None)
        assert store.daemon.api == (f"tcp:{cluster.mon_host}",)
    said = run(cluster.store, "compat", "conf", "--tcp")
    assert said == f"[global]\nmon_host = {cluster.mon_host}\n"


def test_its_own_certificate_is_good_as_an_authority_too(encrypted: Cluster) -> None:
    token = encrypted.place / "token"
    token.write_text(run(encrypted.store, "token", "create", "a", "--role", "operate"))
    port = encrypted.daemon.port("api")
    with cowshed.open(
        f"cowshed://localhost:{port}?ca={encrypted.store / CERTIFICATE}&token-file={token}"
    ) as store:
        store.create("a", MIB)
        with store.open("a") as image:
            image.write(0, b"x")


def test_certificates_are_made_once_by_whoever_comes_first(tmp_path: Path) -> None:
    made: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: made.append(fingerprint(own_certificate(tmp_path)[0])))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == [KEY, CERTIFICATE]


def test_what_is_no_certificate_has_no_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n")
    (tmp_path / "y").write_text("nothing")
    for name in "xy":
        with pytest.raises(InvalidArgument, match="no certificate"):
            fingerprint(str(tmp_path / name))
