"""The oracle finds what is wrong, and lets be what may be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from guest import file_system
from guest.file_system import Unsound
from guest.oracle import Known, complaints
from guest.records import NAMES, WRITERS, Tree, record, step

PLACES = ["bin", "records", "names"]
RING = WRITERS[3]
COUNT = 21
"""Records that each writer wrote: 10 in epoch 0, the others in epoch 1."""


def epoch(number: int) -> int:
    return int(number >= 10)


def written(count: int = COUNT) -> Tree:
    """The files of a session 1 when each writer had done `count` records or steps."""
    tree: Tree = {"bin/busybox": b"busy"}
    for writer in WRITERS:
        pieces = [record(1, writer, number, epoch(number)) for number in range(count)]
        if writer.kind == "ring":
            pieces = [
                pieces[max(range(slot, count, writer.slots))] for slot in range(min(count, writer.slots))
            ]
        tree[f"records/1/{writer.number}"] = b"".join(pieces)
    names: Tree = {}
    for number in range(count):
        names = step(1, names, number)
    return tree | {f"names/1/{path}": data for path, data in names.items()}


def known(durable: int = COUNT, begun: int = COUNT, epoch: int = 1) -> Known:
    writers = [(1, number) for number in [*(writer.number for writer in WRITERS), NAMES]]
    return Known(dict.fromkeys(writers, durable), dict.fromkeys(writers, begun), epoch)


@pytest.mark.parametrize("count", [0, 1, 2, 6, 11, 16, 17, COUNT])
def test_what_was_written_is_right(count: int) -> None:
    assert complaints(written(count), known(count, count)) == []
    assert complaints(written(count), known(max(0, count - 3), count + 2)) == []


@pytest.mark.parametrize("count", [1, 2, 6, 11, 16, 17, COUNT])
def test_one_too_few_or_too_many(count: int) -> None:
    """By each writer: so none is left out."""
    assert len(complaints(written(count), known(count + 1, count + 1))) == len(WRITERS) + 1
    assert len(complaints(written(count), known(0, count - 1))) == len(WRITERS) + 1


def test_from_a_later_epoch() -> None:
    found = complaints(written(), known(epoch=0))
    assert [line.partition(":")[0] for line in found] == [f"records/1/{writer.number}" for writer in WRITERS]
    assert complaints(written(10), known(10, 10, epoch=0)) == []


def test_files_that_are_not_there() -> None:
    assert len(complaints({}, known())) == len(WRITERS) + 1
    assert complaints({}, known(durable=0)) == []


@pytest.mark.parametrize("writer", WRITERS[:3])
def test_the_tail_of_a_log(writer: object) -> None:
    assert isinstance(writer, type(RING))
    path = f"records/1/{writer.number}"
    whole = written()
    next_ = record(1, writer, COUNT, 1)
    in_flight = known(begun=COUNT + 1)

    def with_tail(tail: bytes, what: Known = in_flight) -> list[str]:
        return complaints(whole | {path: whole[path] + tail}, what)

    for tail in (next_[:100], bytes(50), next_[:40] + bytes(60), bytes(40) + next_[40:100], next_[:-1]):
        assert with_tail(tail) == []
        assert len(with_tail(tail, known())) == 1
    for tail in (
        next_[:99] + b"x",
        record(1, writer, COUNT - 1, 1)[:60],
        next_ + b"\0",
        record(1, writer, COUNT, 2),
    ):
        assert len(with_tail(tail)) >= 1
    assert complaints(whole | {path: whole[path][:-1]}, in_flight) != []
    assert (
        complaints(whole | {path: whole[path][:-1]}, replace(in_flight, durable=known(COUNT - 1).durable))
        == []
    )


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("place", [0, 0.3, 0.6, 0.999])
@pytest.mark.parametrize("hole", [True, False])
def test_one_byte_is_wrong(writer: object, place: float, hole: bool) -> None:
    assert isinstance(writer, type(RING))
    path = f"records/1/{writer.number}"
    whole = written()
    data = bytearray(whole[path])
    index = int(len(data) * place)
    data[index] = 0 if hole else data[index] ^ 1
    assert complaints(whole | {path: bytes(data)}, known(begun=COUNT + 1)) != []


def test_a_slot_that_is_written_over() -> None:
    path, length = f"records/1/{RING.number}", RING.length
    whole = written()
    slot = COUNT % RING.slots
    start = slot * length
    old = record(1, RING, COUNT - RING.slots, 0)
    assert whole[path][start : start + length] == old

    def with_slot(piece: bytes, what: Known) -> list[str]:
        data = whole[path][:start] + piece + whole[path][start + length :]
        return complaints(whole | {path: data}, what)

    in_flight = known(begun=COUNT + 1)
    new = record(1, RING, COUNT, 1)
    for piece in (new[:1000] + old[1000:], old[:2000] + new[2000:3000] + old[3000:]):
        assert with_slot(piece, in_flight) == []
        assert len(with_slot(piece, known())) == 1
    assert with_slot(new, in_flight) == []
    for piece in (
        bytes(length),
        new[:1000] + bytes(length - 1000),
        record(1, RING, COUNT - RING.slots - 16, 0),
    ):
        assert with_slot(piece, in_flight) != []
    # An older record in any other slot.
    for number in range(COUNT - RING.slots + 1, COUNT):
        start = number % RING.slots * length
        assert (
            with_slot(record(1, RING, number - RING.slots, 0) if number >= 16 else bytes(length), in_flight)
            != []
        )


@pytest.mark.parametrize("steps", range(1, 20))
def test_names_between_two_steps(steps: int) -> None:
    """Any one name left out, or one old name more, is noticed, unless a step does just that."""
    tree = written(steps)
    names = [path for path in tree if path.startswith("names/")]
    for name in names:
        less = {path: data for path, data in tree.items() if path != name}
        assert complaints(less, known(steps, steps)) != []
        assert complaints(tree | {name: tree[name][:-1]}, known(steps, steps)) != []
    assert complaints(tree | {"names/1/new.99": b""}, known(steps, steps + 1)) != []


def names_only(changed: Tree, steps: int, durable: int | None = None) -> list[str]:
    """What is said of the names after so many steps, with other files put among them."""
    tree = written(steps) | {f"names/1/{name}": data for name, data in changed.items()}
    what = known(steps if durable is None else durable, steps + 1)
    return [line for line in complaints(tree, what) if line.startswith("names")]


def test_a_file_in_the_making() -> None:
    after = written(7)["names/1/new.1"]
    for data in (b"", after[:100], bytes(100), after[:-1], after[:10] + bytes(50), after):
        assert names_only({"new.1": data}, 6) == []
        assert (names_only({"new.1": data}, 6, durable=7) == []) == (data == after)
    for data in (after + b"x", b"x", after[:100] + b"x"):
        assert names_only({"new.1": data}, 6) != []
        assert names_only({"new.2": data}, 6) != []


def test_a_file_that_is_cut_off() -> None:
    full, short = written(9)["names/1/file.1"], written(10)["names/1/file.1"]
    for data in (full, short, short + bytes(len(full) - len(short)), full[:-100] + bytes(100)):
        assert names_only({"file.1": data, "links/1": data}, 9) == []
    for data in (short + bytes(1), full[:-1], bytes(len(full)), full[:-1] + b"x"):
        assert names_only({"file.1": data, "links/1": data}, 9) != []
    assert names_only({"file.1": full, "links/1": short}, 9) != []


@pytest.mark.skipif(bool(file_system.missing_tools()), reason="e2fsprogs is missing")
class TestFileSystem:
    @pytest.fixture
    def image(self, tmp_path: Path) -> Path:
        for path, data in written().items():
            file = tmp_path / "tree" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        image = tmp_path / "image"
        file_system.make(image, tmp_path / "tree", 32 << 20)
        return image

    def test_files_go_in_and_out(self, image: Path) -> None:
        file_system.replay(image)
        assert file_system.files(image, PLACES) == written()

    def test_files_of_a_mount(self, image: Path) -> None:
        if not file_system.can_mount():
            pytest.skip("needs root, and loop devices")
        with file_system.mounted(image) as place:
            assert file_system.files_below(place, PLACES) == written()

    @pytest.mark.parametrize(
        "damage",
        ["freeb {block}", "clri names/1", "unlink records/1/0", "set_inode_field records/1/0 links_count 7"],
    )
    def test_damage(self, image: Path, damage: str) -> None:
        (block, *_) = file_system.blocks(image, "records/1/0")
        file_system.debugfs(image, damage.format(block=block), write=True)
        with pytest.raises(Unsound):
            file_system.check(image)
        with pytest.raises(Unsound):
            file_system.replay(image)

    def test_an_older_block_of_a_file(self, image: Path) -> None:
        (block, *_) = file_system.blocks(image, f"records/1/{RING.number}")
        old = record(1, RING, 0, 0)[:4096]
        with image.open("r+b") as file:
            file.seek(block * 4096)
            file.write(old)
        file_system.replay(image)
        assert complaints(file_system.files(image, PLACES), known()) != []
