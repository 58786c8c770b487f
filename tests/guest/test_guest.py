"""A Linux guest on a clone, over NBD: snapshots taken while it writes are states that a disk can have.

The guest is killed, and each snapshot's file system must be whole once its journal is replayed, hold what the
guest had fsynced before the snapshot was taken, and nothing that it wrote afterwards (guest/oracle.py).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

import cowshed
from cowshed.transfer.raw import export_raw
from guest import file_system
from guest.conftest import Kit
from guest.disk import KEPT
from guest.file_system import Unsound, copy
from guest.oracle import Known, complaints
from guest.records import WRITERS, Tree, Writer
from guest.server import Server

SNAPSHOTS = 40
INTERVAL = 0.1
RECORDS = 40
"""Durable ones of each writer at the end: more than twice the ring's slots."""
PATIENCE = 180.0
"""Seconds; on a busy machine without KVM a guest takes ten to start."""


@dataclass(frozen=True)
class Moment:
    """A state of the disk, in an image file."""

    name: str
    image: Path
    known: Known


@pytest.fixture(scope="module")
def moments(kit: Kit) -> list[Moment]:
    """The snapshots, and last the disk as it was when the guest was killed."""
    server = Server(kit.store, kit.socket)
    durable: list[dict[int, int]] = []
    try:
        with kit.boot(session=1) as machine:
            machine.wait_until_up(PATIENCE)
            machine.tell(0)
            machine.wait_for_more(1, PATIENCE)
            start = time.monotonic()
            for number in count():
                time.sleep(max(0.0, start + number * INTERVAL - time.monotonic()))
                durable.append(machine.durable())
                if number >= SNAPSHOTS and min(durable[-1].values()) >= RECORDS:
                    break
                assert time.monotonic() < start + PATIENCE, f"the guest is too slow: {durable[-1]}"
                server.create_snapshot(f"rbd/guest@{number}")
                machine.tell(number + 1)
            machine.kill()
            durable[-1] = machine.durable()
            begun = [machine.begun(epoch) for epoch in range(len(durable))]
        server.stop()
    finally:
        server.kill()
    names = [f"rbd/guest@{number}" for number in range(len(durable) - 1)] + ["rbd/guest"]
    found = []
    with cowshed.open(kit.store) as store:
        for number, name in enumerate(names):
            image = kit.work / f"moment-{number}"
            with store.open(name, read_only=True) as source, image.open("wb") as file:
                export_raw(source, file)
            known = Known(
                {(1, writer): n for writer, n in durable[number].items()},
                {(1, writer): n for writer, n in begun[number].items()},
                number,
            )
            found.append(Moment(name, image, known))
    return found


def test_the_store_is_sound(kit: Kit, moments: list[Moment]) -> None:
    with cowshed.open(kit.store) as store:
        assert len(store.snapshots("rbd/guest")) == len(moments) - 1
        assert store.check() == []


def test_each_snapshot_is_whole(kit: Kit, moments: list[Moment], scratch: Path) -> None:
    """By e2fsprogs: the journal is replayed, nothing is to be repaired, all records are as they must be."""
    wrong = []
    replayed = 0
    for moment in moments:
        image = copy(moment.image, scratch / "image")
        try:
            replayed += file_system.replay(image)
        except Unsound as error:
            wrong.append(f"{moment.name}: {error}")
            continue
        wrong += all_complaints(kit, moment, file_system.files(image, KEPT))
    assert wrong == []
    # The guest was busy all the time: a file system that is at rest proves little.
    assert replayed == len(moments)
    assert len({tuple(moment.known.durable.values()) for moment in moments}) > len(moments) // 4


def test_each_snapshot_mounts(kit: Kit, moments: list[Moment], scratch: Path) -> None:
    """By this machine's kernel: which replays the journal itself, and leaves nothing to be repaired."""
    if not file_system.can_mount():
        pytest.skip("needs root, and loop devices")
    wrong = []
    for moment in moments:
        image = copy(moment.image, scratch / "image")
        with file_system.mounted(image) as place:
            wrong += all_complaints(kit, moment, file_system.files_below(place, KEPT))
        file_system.check(image)
    assert wrong == []


def all_complaints(kit: Kit, moment: Moment, files: Tree) -> list[str]:
    found = complaints(files, moment.known)
    found += [f"{path} is another" for path, data in kit.files.items() if files.get(path) != data]
    return [f"{moment.name}: {complaint}" for complaint in found]


@pytest.mark.parametrize("blocks", [1, 16, 1024])
def test_a_mixture_of_two_moments_is_noticed(
    kit: Kit, moments: list[Moment], scratch: Path, blocks: int
) -> None:
    """Every other piece is from another moment: as if a snapshot were taken bit by bit."""
    first, last = moments[len(moments) // 2], moments[-1]
    image = copy(last.image, scratch / "image")
    size = blocks * 4096
    with first.image.open("rb") as source, image.open("r+b") as file:
        for start in range(0, image.stat().st_size, 2 * size):
            source.seek(start)
            file.seek(start)
            file.write(source.read(size))
    try:
        file_system.replay(image)
    except Unsound:
        return
    # As the later moment it lacks something, as the earlier one it has too much.
    files = file_system.files(image, KEPT)
    for moment in (first, last):
        assert all_complaints(kit, moment, files) != []


@pytest.mark.parametrize(
    ("writer", "older"),
    [
        *(pytest.param(writer, True, id=f"older-{writer.kind}-{writer.number}") for writer in WRITERS),
        # What is there of a log never changes.
        *(pytest.param(it, False, id=f"later-{it.kind}-{it.number}") for it in WRITERS if it.kind == "ring"),
    ],
)
def test_one_block_of_another_moment_is_noticed(
    kit: Kit, moments: list[Moment], scratch: Path, writer: Writer, older: bool
) -> None:
    """A write that was lost, or that came into a snapshot after it was taken."""
    path = f"records/1/{writer.number}"
    middle = moments[len(moments) // 2]
    other = moments[0] if older else moments[-1]
    image = copy(middle.image, scratch / "image")
    file_system.replay(image)
    with other.image.open("rb") as source, image.open("r+b") as file:
        for block in file_system.blocks(image, path):
            source.seek(block * 4096)
            file.seek(block * 4096)
            if (data := source.read(4096)) != file.read(4096):
                file.seek(block * 4096)
                file.write(data)
                break
        else:
            pytest.fail(f"no block of {path} differs between {middle.name} and {other.name}")
    file_system.check(image)
    assert any(path in complaint for complaint in all_complaints(kit, middle, file_system.files(image, KEPT)))
