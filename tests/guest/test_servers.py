"""The server is restarted and killed under a guest's load: what was durable for the guest is there then."""

from __future__ import annotations

from pathlib import Path

import cowshed
from cowshed.transfer.raw import export_raw
from guest import file_system
from guest.conftest import Kit
from guest.disk import KEPT
from guest.oracle import Known, complaints
from guest.server import Server

RECORDS = 5
"""More durable ones of each writer, between any two things that happen."""
PATIENCE = 180.0
EPOCH = 0
"""No snapshots, so no others."""


def test_guests_and_their_servers(kit: Kit, tmp_path: Path) -> None:
    """The first guest goes on after its server was restarted, and is lost with the last one, which is killed.

    The second guest boots from the same disk, and goes on after each of its servers was killed.
    """
    server = Server(kit.store, kit.socket)
    try:
        with kit.boot(session=1, waits=True) as first:
            first.wait_until_up(PATIENCE)
            first.tell(EPOCH)
            for _ in range(3):
                first.wait_for_more(RECORDS, PATIENCE)
                server.stop()
                server = Server(kit.store, kit.socket)
            first.wait_for_more(RECORDS, PATIENCE)
            server.kill()
            first.kill()
        server = Server(kit.store, kit.socket)
        with kit.boot(session=2, waits=True, writes_through=True) as second:
            second.wait_until_up(PATIENCE)
            second.tell(EPOCH)
            for _ in range(3):
                second.wait_for_more(RECORDS, PATIENCE)
                server.kill()
                server = Server(kit.store, kit.socket)
            second.wait_for_more(RECORDS, PATIENCE)
            second.kill()
        server.stop()
    finally:
        server.kill()
    durable: dict[tuple[int, int], int] = {}
    begun: dict[tuple[int, int], int] = {}
    for machine in (first, second):
        durable |= {(machine.session, writer): count for writer, count in machine.durable().items()}
        begun |= {(machine.session, writer): count for writer, count in machine.begun(EPOCH).items()}
    image = tmp_path / "image"
    with cowshed.open(kit.store) as store:
        assert store.check() == []
        with store.open("rbd/guest", read_only=True) as source, image.open("wb") as file:
            export_raw(source, file)
    assert file_system.replay(image)
    assert complaints(file_system.files(image, KEPT), Known(durable, begun, EPOCH)) == []
