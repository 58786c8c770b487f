"""Who is who with TLS: a server, a client of its authority, one without a certificate, and a stranger."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from nbd.certificates import Authority


@dataclass(frozen=True)
class Identities:
    """Clients are directories as libnbd and qemu expect them, and trust the server's authority.

    They hold `ca-cert.pem`, `client-cert.pem` and `client-key.pem`.
    """

    authority: Path
    """The certificate of the authority of the server, and of clients that are let in."""
    server: Path
    server_key: Path
    known: Path
    """A client with a certificate of the authority."""
    nameless: Path
    """A client without one."""
    strange: Path
    """A client with a certificate of another authority."""


def identities(directory: Path) -> Identities:
    ours, theirs = (Authority.make(directory / name) for name in ("ours", "theirs"))
    ours.server("localhost")
    signers: dict[str, Authority | None] = {"known": ours, "nameless": None, "strange": theirs}
    for name, signer in signers.items():
        client = directory / name
        client.mkdir()
        shutil.copy(ours.ca, client)
        for file in signer.client() if signer else ():
            shutil.copy(file, client)
    return Identities(
        authority=ours.ca,
        server=ours.directory / "server-cert.pem",
        server_key=ours.directory / "server-key.pem",
        known=directory / "known",
        nameless=directory / "nameless",
        strange=directory / "strange",
    )
