"""The server is killed under a guest's load: what was durable for the guest is there when it serves again."""

from __future__ import annotations

from pathlib import Path

import cowshed
from cowshed.transfer.raw import export_raw
from guest import file_system
from guest.conftest import Kit
from guest.disk import KEPT
from guest.oracle import Known, complaints
from guest.server import Server

RECORDS = 20
PATIENCE = 180.0
EPOCH = 0
"""No snapshots, so no others."""


def test_a_guest_boots_again_and_another_goes_on(kit: Kit, tmp_path: Path) -> None:
    """One guest is lost with the server. The next one boots from the same disk, and waits for its servers."""
    server = Server(kit.store, kit.socket)
    try:
        with kit.boot(session=1) as first:
            first.wait_until_up(PATIENCE)
            first.tell(EPOCH)
            first.wait_for_more(RECORDS, PATIENCE)
            server.kill()
            first.kill()
        server = Server(kit.store, kit.socket)
        with kit.boot(session=2, goes_on=True) as second:
            second.wait_until_up(PATIENCE)
            second.tell(EPOCH)
            for _ in range(3):
                second.wait_for_more(5, PATIENCE)
                server.kill()
                server = Server(kit.store, kit.socket)
            second.wait_for_more(5, PATIENCE)
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
