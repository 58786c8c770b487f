"""The certificate that a daemon makes for itself where its operator gives none.

It is signed by itself, so nobody trusts it for its name: clients know it by its fingerprint, which the keys
of `cowshed compat keyring` hold, or are given it as `?ca=FILE`. It lies in the store and stays the same,
since a new one would shut out all who know the old one.
"""

from __future__ import annotations

import datetime
import fcntl
import hashlib
import ipaddress
import os
import secrets
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cowshed.errors import InvalidArgument, NotFound, UnsupportedTarget, from_os_error

CERTIFICATE = "daemon.pem"
KEY = "daemon.key"
_DAYS = 3650


def own_certificate(directory: str | os.PathLike[str], hosts: Iterable[str] = ()) -> tuple[str, str]:
    """The files of certificate and key of the store in `directory`; they are made where there are none.

    `hosts` are names and addresses that a new certificate is to bear besides this machine's. Raises NotFound,
    UnsupportedTarget where the library for it is missing, and what `from_os_error` makes.
    """
    place = Path(directory)
    certificate, key = place / CERTIFICATE, place / KEY
    try:
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        raise NotFound(f"no store at {str(place)!r}") from None
    except OSError as error:
        raise from_os_error(error, f"opening {str(place)!r}") from None
    try:
        # A daemon and a command may both be the first to need it.
        fcntl.flock(fd, fcntl.LOCK_EX)
        # The certificate is written last: where it is, the key is.
        if not certificate.exists():
            made, secret = _make([*hosts, socket.gethostname()])
            _write(key, secret, 0o600, fd)
            _write(certificate, made, 0o644, fd)
            os.fsync(fd)
    except OSError as error:
        raise from_os_error(error, f"making {str(certificate)!r}") from None
    finally:
        os.close(fd)
    return str(certificate), str(key)


def fingerprint(path: str) -> bytes:
    """The SHA-256 of a server's certificate, the first in a PEM file. Raises InvalidArgument …"""
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise from_os_error(error, f"reading {path!r}") from None
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    body = text.partition(begin)[2].partition(end)[0]
    try:
        found = ssl.PEM_cert_to_DER_cert(f"{begin}{body}{end}")
    except ValueError:
        found = b""
    if not found:
        raise InvalidArgument(f"{path!r} holds no certificate (PEM)")
    return hashlib.sha256(found).digest()


def _make(hosts: Iterable[str]) -> tuple[bytes, bytes]:
    """A certificate for these hosts and this machine, and its key, both PEM."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ModuleNotFoundError:
        raise UnsupportedTarget(
            "a certificate cannot be made: 'cryptography' is not installed",
            hint="pip install 'cowshed[serve]', or give --tls-cert and --tls-key",
        ) from None
    names: dict[x509.GeneralName, None] = {}
    for host in ("localhost", "127.0.0.1", "::1", *hosts):
        try:
            names[x509.IPAddress(ipaddress.ip_address(host))] = None
        except ValueError:
            with suppress(ValueError):  # a host's name may be what no certificate can bear
                names[x509.DNSName(host)] = None
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cowshed daemon")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Clocks of clients may be behind.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), secret


def _write(path: Path, content: bytes, mode: int, directory: int) -> None:
    """All or nothing, durable but for the directory; for the store's owner, whoever makes it."""
    new = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            if os.geteuid() == 0:
                owner = os.fstat(directory)
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
