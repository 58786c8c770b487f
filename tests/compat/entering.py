"""A daemon that programs enter as if it were a cluster, and the files that they are given for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cowshed.compat.keyring import parse_keyring
from cowshed.opening import open_directly
from serve.daemons import Daemon, run, serving

LOOPBACK = ("--listen", "127.0.0.1:0", "--nbd-listen", "127.0.0.1:0")


@dataclass
class Cluster:
    """A daemon, seen from outside: an address, and a keyring for each user."""

    store: Path
    daemon: Daemon
    place: Path
    """Where its files are put."""

    @property
    def mon_host(self) -> str:
        return f"127.0.0.1:{self.daemon.port('api')}"

    def keyring(self, user: str, *words: str) -> Path:
        """The file that `cowshed compat keyring` makes."""
        file = self.place / f"ceph.client.{user}.keyring"
        if not file.exists():
            file.write_text(run(self.store, "compat", "keyring", "--id", user, *words))
        return file

    def key(self, user: str, *words: str) -> str:
        return parse_keyring(self.keyring(user, *words).read_text())[f"client.{user}"]

    def conf(self, user: str = "cinder") -> Path:
        """A ceph.conf as os-brick writes it: the address, and where the keyring is."""
        file = self.place / f"{user}.conf"
        file.write_text(
            f"[global]\nmon_host = {self.mon_host}\n\n[client.{user}]\nkeyring = {self.keyring(user)}\n"
        )
        return file


@contextmanager
def clustered(place: Path, *words: str) -> Iterator[Cluster]:
    """A new store, served on loopback addresses; with TLS unless `--insecure` is among the words."""
    store = place / "store"
    open_directly(store, create=True).close()
    with serving(store, *LOOPBACK, *words) as daemon:
        yield Cluster(store, daemon, place)
