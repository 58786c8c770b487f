"""device map, unmap, ls; also as map, unmap, showmapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from cowshed.attach import DEVICE_TYPES, FORMS, PATIENCE
from cowshed.cli.command import verb
from cowshed.cli.output import Output, print_table, takes_format
from cowshed.cli.places import Flags, SpecPlace, image_or_snapshot, takes
from cowshed.cli.session import Session
from cowshed.errors import InvalidArgument
from cowshed.store import ImageSpec, SnapSpec

if TYPE_CHECKING:
    from cowshed.attach.server import Server
    from cowshed.remote.endpoint import TcpEndpoint


class DevicePlace(SpecPlace):
    """The path of a device; or an image or a snapshot that is mapped."""

    def __init__(self) -> None:
        super().__init__(image=True, snapshot=True)
        self.label = f"DEVICE|{self.label}"

    def fill(self, flags: Flags, words: list[str], found: dict[str, Any]) -> Any:
        """The path, or the spec."""
        if words and words[0].startswith("/") and not any(flags.values()):
            return words.pop(0)
        return super().fill(flags, words, found)


def _options(text: str | None, known: tuple[str, ...]) -> set[str]:
    """The words of `--options`, as rbd has them."""
    given = {word for word in (text or "").split(",") if word}
    if unknown := sorted(given - set(known)):
        raise InvalidArgument(f"there is no option '{unknown[0]}'", hint=f"there are: {', '.join(known)}")
    return given


def _type_option(purpose: str) -> Callable[[Any], Any]:
    return click.option("-t", "--device-type", type=click.Choice(DEVICE_TYPES), default="auto", help=purpose)


@verb(
    "device map",
    examples="""
    cowshed device map vm1
    cowshed map vm1@monday
    cowshed map vm1 --print qemu
    cowshed map vm1 --print libvirt > disk.xml
    """,
)
@takes(image_or_snapshot())
@click.option("--read-only", is_flag=True, help="Refuse writes; a snapshot does in any case.")
@_type_option("What makes the device: Linux's NBD client, or FUSE and a loop device. Default: what there is.")
@click.option("-o", "--options", metavar="WORDS", help="ro or rw, as with rbd.")
@click.option("--print", "form", type=click.Choice(FORMS), help="Touch nothing, print the settings for it.")
@click.option("--nbd", metavar="ADDRESS", help="The daemon's NBD server: unix:PATH or tcp:HOST:PORT.")
@click.option("--tls-dir", metavar="DIR", help="With ca-cert.pem and so on, for an NBD server with TLS.")
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, max=1e9),
    default=PATIENCE,
    help=f"How long requests wait for a daemon that is away. Default: {PATIENCE:.0f}.",
)
@click.pass_obj
def map_(
    session: Session,
    spec: ImageSpec | SnapSpec,
    read_only: bool,
    device_type: str,
    options: str | None,
    form: str | None,
    nbd: str | None,
    tls_dir: str | None,
    timeout: float,
) -> None:
    """Make an image or a snapshot a block device of this host, and print its path.

    It goes through the daemon that serves the store. `--print` makes no device, and says how a virtual
    machine takes the image as a disk: words for qemu's command line, the JSON of its -blockdev, or libvirt's
    XML.
    """
    words = _options(options, ("ro", "rw"))
    if {"ro", "rw"} <= words or (read_only and "rw" in words):
        raise InvalidArgument("it cannot be both read-only and not", hint="give one of ro and rw")
    read_only = read_only or "ro" in words
    if form is not None:
        from cowshed.attach.printed import printed

        print(printed(form, spec, nbd_server(session, nbd, tls_dir), read_only=read_only))
        return
    from cowshed.attach.devices import map_image

    made = map_image(
        spec,
        (None if nbd or tls_dir else _endpoint(session)) or nbd_server(session, nbd, tls_dir),
        read_only=read_only,
        device_type=device_type,
        patience=timeout,
        # Who calls rbd looks for its device where udev would name it.
        link=session.program == "rbd",
    )
    print(made.device)


def _endpoint(session: Session) -> TcpEndpoint | None:
    """The daemon on TCP that the session's store is at; None for a store on this machine."""
    if "://" not in session.target:
        return None
    from cowshed.remote import RemoteStore
    from cowshed.remote.endpoint import TcpEndpoint

    with session.open() as store:
        endpoint = store.endpoint if isinstance(store, RemoteStore) else None
    return endpoint if isinstance(endpoint, TcpEndpoint) else None


def nbd_server(session: Session, nbd: str | None, tls_dir: str | None) -> Server:
    """Where `--nbd` and `--tls-dir` say that disks are, or else the daemon of the session's store. Raises
    NotFound where there is none, InvalidArgument.
    """
    from cowshed.attach.server import parse_server, server_of, with_tls

    return with_tls(parse_server(nbd) if nbd else server_of(session.target), tls_dir)


@verb(
    "device unmap",
    examples="""
    cowshed device unmap /dev/loop0
    cowshed unmap vm1
    """,
)
@takes(DevicePlace())
@_type_option("Only a device of this kind.")
@click.option("-o", "--options", metavar="WORDS", help="force, as with rbd.")
@click.option("--force", is_flag=True, help="Though it is in use; what is not written yet is lost.")
@click.pass_obj
def unmap(
    session: Session, spec: ImageSpec | SnapSpec | str, device_type: str, options: str | None, force: bool
) -> None:
    """Take back a block device, given by its path or by what is mapped to it.

    When it returns, all that was written is durable. Needs no store, and no daemon either.
    """
    from cowshed.attach.devices import unmap as take_back

    force = force or "force" in _options(options, ("force",))
    meant = take_back(spec, force=force, device_type=device_type)
    if len(meant) > 1:
        click.echo(f"'{spec}' is mapped more than once: unmapped {meant[0].device} only", err=True)


@verb(
    "device ls",
    examples="""
    cowshed device ls
    cowshed showmapped --format json
    """,
)
@takes()
@_type_option("Only devices of this kind.")
@takes_format
@click.pass_obj
def ls(session: Session, device_type: str, output: Output) -> None:
    """List what is mapped on this host, of whatever store."""
    from cowshed.attach.devices import mapped

    found = [mapping for _, mapping in mapped(device_type)]
    if not output.plain:
        rows = [
            {
                "id": str(mapping.id),
                "pool": mapping.pool,
                "namespace": mapping.namespace,
                "name": mapping.image,
                "snap": mapping.snapshot or "-",
                "device": mapping.device,
            }
            for mapping in found
        ]
        output.document(rows, "devices")
    elif found:
        print_table(
            ["id", "pool", "namespace", "image", "snap", "device"],
            ([m.id, m.pool, m.namespace, m.image, m.snapshot or "-", m.device] for m in found),
        )
