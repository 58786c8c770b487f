"""A store whose images are served over NBD, and the program on this host; nothing of it is left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.conftest import Program
from model.kernel_module import REAL

if TYPE_CHECKING:
    from cowshed._kernel import NbdExport, NbdServer
    from cowshed.attach.register import Mapping
    from cowshed.local import LocalStore
    from cowshed.local.image import LocalImage


class ByName:
    """Whose disk an export is, as the NBD server asks: every image and snapshot under its name."""

    def __init__(self, store: LocalStore) -> None:
        self.store = store
        self.open_images: dict[int, LocalImage] = {}

    def open(self, name: str, peer: str) -> NbdExport:
        from cowshed._kernel import NbdExport
        from cowshed.errors import NotFound

        try:
            image = self.store.open(name)
        except NotFound as error:
            raise LookupError(str(error)) from None
        export = NbdExport(image._version, read_only=image.read_only, label=name)
        self.open_images[id(export)] = image
        return export

    def close(self, export: NbdExport, fault: str | None) -> None:
        self.open_images.pop(id(export)).close()

    def names(self) -> list[tuple[str, str]]:
        return []

    def snapshots(self, export: NbdExport) -> list[str]:
        return []

    def snapshot_version(self, export: NbdExport, name: str) -> int:
        raise LookupError(name)


class Host(Program):
    """The program on a served store, with a register of its own."""

    def __init__(self, room: Path) -> None:
        super().__init__(room / "store")
        self.room = room
        self.run_directory = room / "run"
        self.devices: set[str] = set()

    @property
    def environment(self) -> dict[str, str]:
        """As of any program, with the register."""
        return {**super().environment, "COWSHED_RUN": str(self.run_directory)}

    def map(self, *words: object) -> str:
        """Map, and return the device."""
        device = self("map", *words).text
        assert device.startswith("/dev/")
        assert device.endswith("\n")
        self.devices.add(device.strip())
        return device.strip()

    def mapped(self) -> list[Mapping]:
        """What the register knows; read here, and nothing cleared away."""
        from cowshed.attach.register import Register

        found = [slot.record() for slot in Register(self.run_directory).slots()]
        return [record for record in found if record]

    def left(self) -> list[str]:
        """What there is of mounts and loop devices that belong to this test."""
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(self.room) in line]
        names = [
            (device, Path("/sys/block", Path(device).name, "loop/backing_file")) for device in self.devices
        ]
        files = [(device, path.read_text().strip()) for device, path in names if path.exists()]
        # A file whose mount is gone has lost the beginning of its name.
        loops = [device for device, file in files if file == "/disk" or file.startswith(str(self.room))]
        return mounts + loops


@pytest.fixture
def served(tmp_path: Path) -> Iterator[LocalStore]:
    """The store, open in this very process."""
    if not REAL:
        pytest.skip("cowshed._kernel is not built")
    import cowshed
    from cowshed.local import LocalStore

    with cowshed.open(tmp_path / "store", create=True) as store:
        assert isinstance(store, LocalStore)
        yield store
        assert store.check() == []


@pytest.fixture
def server(served: LocalStore, tmp_path: Path) -> Iterator[NbdServer]:
    """It is served at the socket where the daemon would."""
    from cowshed._kernel import NbdServer

    server = NbdServer(served._catalog.kernel, ByName(served))
    server.listen_unix(tmp_path / "store" / "nbd.sock")
    yield server
    server.stop(1.0)


@pytest.fixture
def host(server: NbdServer, tmp_path: Path) -> Iterator[Host]:
    """The program; whatever is still mapped at the end is taken back."""
    host = Host(tmp_path)
    yield host
    for mapping in host.mapped():
        host.run("unmap", "--force", mapping.device)
    assert host.left() == []


def kill(mapping: Mapping) -> None:
    """End the process that serves a mapping, without a chance to tidy up."""
    os.kill(mapping.pid, signal.SIGKILL)
