"""compat path, run, conf, keyring, disk: what programs need that know RBD, and are to run on a store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from cowshed.attach import FORMS
from cowshed.cli.command import verb
from cowshed.cli.session import Session
from cowshed.errors import InvalidArgument, IOFailure, NotFound, PermissionDenied
from cowshed.wire.operations import ROLES, Role

if TYPE_CHECKING:
    from cowshed.wire.answers import DaemonInfo

_HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
MODULES = os.path.join(_HERE, "compat", "modules")  # noqa: PTH118
PROGRAMS = os.path.join(_HERE, "compat", "bin")  # noqa: PTH118


@verb(
    "compat path",
    examples="""
    PYTHONPATH=$(cowshed compat path) python3 -c 'import rbd'
    PATH=$(cowshed compat path --bin):$PATH rbd ls
    """,
)
@click.option("--bin", "programs", is_flag=True, help="The folder of the programs rbd, ceph and qemu-img.")
def path(programs: bool) -> None:
    """Print the folder that holds the Python modules rbd and rados of cowshed, and nothing else.

    They never stand in for the real ones unless this folder is put on PYTHONPATH.
    """
    print(PROGRAMS if programs else MODULES)


@verb(
    "compat run",
    examples="""
    cowshed compat run glance-api --config-file /etc/glance/glance-api.conf
    cowshed compat run rbd --conf ceph.conf ls
    """,
)
@click.argument("program")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(program: str, arguments: tuple[str, ...]) -> None:
    """Run PROGRAM in place of this one, with the modules in PYTHONPATH and the programs in PATH.

    PROGRAM is looked for there too, so that `rbd` is cowshed's. All that follows it is its own.
    """
    environment = dict(os.environ)
    environment["PYTHONPATH"] = _in_front(MODULES, environment.get("PYTHONPATH"))
    environment["PATH"] = _in_front(PROGRAMS, environment.get("PATH") or os.defpath)
    try:
        os.execvpe(program, [program, *arguments], environment)
    except FileNotFoundError:
        raise NotFound(f"there is no program {program!r}") from None
    except PermissionError:
        raise PermissionDenied(f"{program!r} may not be run") from None
    except OSError as error:
        raise IOFailure(f"{program!r} cannot be run: {error.strerror or error}") from None


run.context_settings.update(ignore_unknown_options=True, allow_interspersed_args=False)


def _in_front(first: str, rest: str | None) -> str:
    return first if not rest else first + os.pathsep + rest


@verb(
    "compat conf",
    examples="""
    cowshed compat conf > /etc/ceph/ceph.conf
    cowshed compat conf --tcp > /etc/ceph/ceph.conf
    """,
)
@click.option("--tcp", is_flag=True, help="By the daemon's address and a key, as from another machine.")
@click.pass_obj
def conf(session: Session, tcp: bool) -> None:
    """Print a ceph.conf for this store.

    Programs on this machine find the store by its path, or its daemon by the daemon's address (--tcp).
    os-brick's always goes by the address, and by a keyring.
    """
    target = session.target
    if not tcp:
        print(f"[global]\ncowshed = {target if '://' in target else os.path.abspath(target)}")  # noqa: PTH100
        return
    from cowshed.compat.addresses import reachable

    daemon = _daemon_of(session)
    if daemon is None or not daemon.api:
        raise NotFound(
            f"no daemon serves {target!r} over TCP",
            hint=f"`cowshed --store {target} serve --listen HOST:6789 --nbd-listen HOST:10809` starts one",
        )
    print("[global]\nmon_host = " + ",".join(map(str, reachable(daemon.api))))


@verb(
    "compat keyring",
    examples="""
    cowshed compat keyring --id cinder > /etc/ceph/ceph.client.cinder.keyring
    cowshed compat keyring --id glance --pool images --pool vms
    """,
)
@click.option("--id", "user", metavar="ID", required=True, help="The user: `cinder` for client.cinder.")
@click.option("--role", type=click.Choice(ROLES), default="operate", help="What it may do. Default: operate.")
@click.option(
    "--pool",
    "pools",
    metavar="POOL",
    multiple=True,
    help="The pool that it is good for; can be given again. Default: all, and the store as a whole.",
)
@click.option("--renew", is_flag=True, help="End the key that the user has, and make another.")
@click.option("--insecure", is_flag=True, help="For a daemon without TLS (serve --insecure).")
@click.pass_obj
def keyring(
    session: Session, user: str, role: Role, pools: tuple[str, ...], renew: bool, insecure: bool
) -> None:
    """Make a key for a user, and print the keyring that holds it: this once, it is not kept.

    The key holds a token (`cowshed token ls` lists it as client.ID, `token rm` ends it) and the fingerprint
    of the daemon's certificate. Who has it may do what the token may: keep the file to its user.
    """
    from contextlib import suppress

    from cowshed.cli.verbs.token import tokens_of
    from cowshed.compat.keyring import Key, write_keyring

    tokens = tokens_of(session)
    fingerprint = None if insecure else _fingerprint(session)
    name = user if user.startswith("client.") else f"client.{user}"
    if renew:
        with suppress(NotFound):
            tokens.remove(name)
    token = tokens.create(name, role, pools=pools or None)
    print(write_keyring({name: str(Key(token, fingerprint))}), end="")
    click.echo(
        f"cowshed: it belongs in /etc/ceph/ceph.{name}.keyring, for its user alone (mode 0600)", err=True
    )


@verb(
    "compat disk",
    examples="""
    virsh dumpxml vm1 | cowshed compat disk - > vm1.xml
    cowshed compat disk connection.json --print blockdev
    cowshed compat disk vm1.xml --nbd tcp:store1:10809 --tls-dir /etc/pki/qemu
    """,
)
@click.argument("file")
@click.option(
    "--print", "form", type=click.Choice(FORMS), default="libvirt", help="As what. Default: libvirt."
)
@click.option("--nbd", metavar="ADDRESS", help="The daemon's NBD server: unix:PATH or tcp:HOST:PORT.")
@click.option("--tls-dir", metavar="DIR", help="With ca-cert.pem and so on, for an NBD server with TLS.")
@click.pass_obj
def disk(session: Session, file: str, form: str, nbd: str | None, tls_dir: str | None) -> None:
    """Print what a guest is given in place of an rbd disk: the daemon's NBD export of the same image.

    FILE (- is stdin) holds libvirt's XML of a disk or of a whole domain, as Nova makes it, or the JSON of an
    RBD connection, as Cinder's driver does. Nothing is touched.
    """
    from cowshed.attach.rbd_disks import as_nbd
    from cowshed.cli.files import reading
    from cowshed.cli.verbs.map import nbd_server
    from cowshed.errors import FormatError

    with reading(file) as stream:
        try:
            text = stream.read().decode()
        except UnicodeDecodeError:
            raise FormatError(f"{file!r} is no text in UTF-8") from None
    print(as_nbd(text, nbd_server(session, nbd, tls_dir), form))


def _fingerprint(session: Session) -> bytes | None:
    """Of the certificate that clients of this store's daemon see; None for a daemon without TLS."""
    from cowshed.serve.certificate import fingerprint, own_certificate

    daemon = _daemon_of(session)
    if daemon is not None and daemon.api:
        return bytes.fromhex(daemon.certificate) if daemon.certificate else None
    certificate, _ = own_certificate(session.target)
    return fingerprint(certificate)


def _daemon_of(session: Session) -> DaemonInfo | None:
    """What the daemon of a store on this machine says of itself; None where none runs."""
    from cowshed.remote import discover
    from cowshed.wire.http import SOCKET_NAME

    target = session.target
    if "://" in target:
        raise InvalidArgument(f"{target!r} is no store on this machine", hint="run this where the store is")
    served = discover(target, os.path.join(target, SOCKET_NAME))  # noqa: PTH118
    if served is None:
        return None
    with served:
        return served.daemon
