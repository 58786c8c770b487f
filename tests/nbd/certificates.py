"""Certificates for a test: an authority, and what it signs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nbd.peers import needs, run


@dataclass(frozen=True, slots=True)
class Authority:
    """Makes keys and certificates in a directory, under the names that nbdkit and qemu-nbd look for."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca-cert.pem"

    @classmethod
    def make(cls, directory: Path) -> Authority:
        needs("certtool", "gnutls-bin")
        directory.mkdir(parents=True)
        made = cls(directory)
        made._key("ca")
        template = made._template("ca", "cn = cowshed tests\nca\ncert_signing_key\n")
        run("certtool", "--generate-self-signed", "--load-privkey", directory / "ca-key.pem",
            "--template", template, "--outfile", made.ca)  # fmt: skip
        return made

    def server(self, host: str) -> None:
        """`server-cert.pem` and `server-key.pem`, for a server of that name."""
        self._sign("server", f"cn = {host}\ndns_name = {host}\ntls_www_server\nsigning_key\nencryption_key\n")

    def client(self) -> tuple[Path, Path]:
        """A client's certificate and key."""
        self._sign("client", "cn = a client\ntls_www_client\nsigning_key\nencryption_key\n")
        return self.directory / "client-cert.pem", self.directory / "client-key.pem"

    def _sign(self, name: str, template: str) -> None:
        self._key(name)
        run("certtool", "--generate-certificate", "--load-privkey", self.directory / f"{name}-key.pem",
            "--load-ca-certificate", self.ca, "--load-ca-privkey", self.directory / "ca-key.pem",
            "--template", self._template(name, template),
            "--outfile", self.directory / f"{name}-cert.pem")  # fmt: skip

    def _key(self, name: str) -> None:
        key = self.directory / f"{name}-key.pem"
        run("certtool", "--generate-privkey", "--key-type", "rsa", "--bits", "2048", "--outfile", key)

    def _template(self, name: str, text: str) -> Path:
        path = self.directory / f"{name}.template"
        path.write_text(text)
        return path
