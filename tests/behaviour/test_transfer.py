"""Raw images and diffs in and out, through files, pipes and plain memory."""

from __future__ import annotations

import io
import os
import random
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from cowshed.errors import AlreadyExists, Disconnected, FormatError, InvalidArgument, NotFound
from cowshed.store import Store
from cowshed.transfer import export_diff, export_raw, import_diff, import_raw

MIB = 1 << 20
BLOCK = 4096


def content(store: Store, spec: str) -> bytes:
    with store.open(spec, read_only=True) as image:
        return image.read(0, image.size)


def exported(store: Store, spec: str) -> bytes:
    out = io.BytesIO()
    with store.open(spec, read_only=True) as image:
        export_raw(image, out)
    return out.getvalue()


def diff_of(store: Store, spec: str, start: str | None) -> bytes:
    out = io.BytesIO()
    with store.open(spec, read_only=True) as image:
        export_diff(image, start, out)
    return out.getvalue()


def patchy(seed: int, size: int) -> bytes:
    """Data with holes, at odd places."""
    rng = random.Random(seed)
    data = bytearray(size)
    for _ in range(6):
        start = rng.randrange(size)
        length = min(size - start, rng.randrange(1, size // 4))
        data[start : start + length] = rng.randbytes(length)
    return bytes(data)


@pytest.mark.parametrize("size", [1, 4096, 5 * MIB + 4321])
def test_files_there_and_back(store: Store, tmp_path: Path, size: int) -> None:
    data = patchy(size, max(size, 8))[:size]
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(data)
    with source.open("rb") as file:
        import_raw(store, "a", file, order=23)
    assert content(store, "a") == data
    assert store.stat("a").order == 23
    assert list(store.images("rbd")) == ["a"]
    with store.open("a") as image, target.open("wb") as file:
        export_raw(image, file)
        assert file.tell() == size
    assert target.read_bytes() == data


def test_an_empty_file(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in").touch()
    with (tmp_path / "in").open("rb") as file:
        import_raw(store, "a", file)
    assert store.stat("a").size == 0
    assert exported(store, "a") == b""


def test_holes_stay_holes(store: Store, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    with source.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(500 * MIB)
        file.write(b"x" * MIB)
    with source.open("rb") as file:
        import_raw(store, "a", file)
    assert store.usage("a").referenced == MIB
    with store.open("a") as image, target.open("wb") as file:
        export_raw(image, file)
    info = target.stat()
    assert info.st_size == 1 << 30
    assert info.st_blocks * 512 < 3 * MIB
    with target.open("rb") as file:
        file.seek(500 * MIB - 5)
        assert file.read(10) == bytes(5) + b"x" * 5


def test_zeros_in_a_file_take_no_space(store: Store) -> None:
    import_raw(store, "a", io.BytesIO(bytes(3 * MIB) + b"x" + bytes(MIB)))
    assert store.usage("a").referenced == BLOCK


def test_import_starts_where_the_file_stands(store: Store, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"head" + b"x" * 10000)
    with (tmp_path / "in").open("rb") as file:
        file.read(4)
        import_raw(store, "a", file)
    assert content(store, "a") == b"x" * 10000


class Feeder:
    """The writing end of a pipe, fed by a thread."""

    def __init__(self, data: bytes) -> None:
        read_end, write_end = os.pipe()
        self.stream: BinaryIO = os.fdopen(read_end, "rb")
        self._thread = threading.Thread(target=self._feed, args=(write_end, data))
        self._thread.start()

    def _feed(self, fd: int, data: bytes) -> None:
        with os.fdopen(fd, "wb") as pipe:
            try:
                pipe.write(data)
                pipe.flush()
            except BrokenPipeError:
                pipe.raw.close()

    def __enter__(self) -> BinaryIO:
        return self.stream

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self._thread.join()


@pytest.mark.parametrize("size", [0, 1, MIB, 70 * MIB + 17])
def test_import_from_a_pipe(store: Store, size: int) -> None:
    data = (patchy(3, MIB) * (size // MIB + 1))[:size]
    with Feeder(data) as pipe:
        import_raw(store, "a", pipe)
    assert store.stat("a").size == size
    assert exported(store, "a") == data


def test_export_to_a_pipe_writes_every_byte(store: Store) -> None:
    store.create("a", 3 * MIB + 5)
    with store.open("a") as image:
        image.write(2 * MIB + 1, b"data")
    read_end, write_end = os.pipe()
    got: list[bytes] = []

    def drain() -> None:
        with os.fdopen(read_end, "rb") as pipe:
            got.append(pipe.read())

    thread = threading.Thread(target=drain)
    thread.start()
    with os.fdopen(write_end, "wb") as pipe, store.open("a") as image:
        export_raw(image, pipe)
    thread.join()
    assert got[0] == content(store, "a")


def test_export_to_a_pipe_that_is_closed(store: Store) -> None:
    store.create("a", MIB)
    read_end, write_end = os.pipe()
    os.close(read_end)
    pipe = os.fdopen(write_end, "wb", buffering=0)
    with pytest.raises(Disconnected), store.open("a") as image:
        export_raw(image, pipe)
    pipe.close()


def test_export_behind_what_is_there_already(store: Store, tmp_path: Path) -> None:
    store.create("a", MIB)
    (tmp_path / "out").write_bytes(b"before")
    with (tmp_path / "out").open("ab") as file, store.open("a") as image:
        export_raw(image, file)
    assert (tmp_path / "out").read_bytes() == b"before" + bytes(MIB)


def test_import_refuses_a_taken_name_at_once(store: Store) -> None:
    store.create("a", MIB)
    with pytest.raises(AlreadyExists):
        import_raw(store, "a", io.BytesIO(b"x"))
    with pytest.raises(NotFound):
        import_raw(store, "nowhere/a", io.BytesIO(b"x"))
    assert list(store.images("rbd")) == ["a"]


def test_a_failed_import_leaves_nothing(store: Store) -> None:
    def stop(done: int, total: int) -> None:
        if done > MIB:
            raise KeyboardInterrupt

    with Feeder(b"x" * (8 * MIB)) as pipe:
        for stream in (io.BytesIO(b"x" * (8 * MIB)), pipe):
            with pytest.raises(KeyboardInterrupt):
                import_raw(store, "a", stream, progress=stop)
            assert list(store.images("rbd")) == []
    store.reclaim()
    assert store.store_usage().used == 0


def test_progress_of_raw(store: Store) -> None:
    seen: list[tuple[int, int]] = []
    import_raw(store, "a", io.BytesIO(b"x" * (5 * MIB)), progress=lambda d, t: seen.append((d, t)))
    assert seen[-1] == (5 * MIB, 5 * MIB)
    assert len(seen) >= 5
    seen.clear()
    with store.open("a") as image:
        export_raw(image, io.BytesIO(), progress=lambda d, t: seen.append((d, t)))
    assert seen[-1] == (5 * MIB, 5 * MIB)
    assert seen == sorted(seen)


def test_a_chain_of_diffs_restores_every_snapshot(store: Store) -> None:
    rng = random.Random(11)
    size = 64 * BLOCK + 100
    store.create("a", size)
    store.create("b", 0)
    previous: str | None = None
    for i in range(12):
        with store.open("a") as image:
            for _ in range(5):
                offset = rng.randrange(image.size)
                length = min(image.size - offset, rng.randrange(1, 20000))
                if rng.random() < 0.3:
                    image.discard(offset, length)
                else:
                    image.write(offset, rng.randbytes(length))
        if rng.random() < 0.3:
            store.resize("a", rng.randrange(1, 100 * BLOCK), allow_shrink=True)
        store.create_snapshot(f"a@{i}")
        import_diff(store, "b", io.BytesIO(diff_of(store, f"a@{i}", previous)))
        previous = str(i)
    assert [s.name for s in store.snapshots("b")] == [s.name for s in store.snapshots("a")]
    for i in range(12):
        assert content(store, f"b@{i}") == content(store, f"a@{i}")


def test_a_diff_through_pipes_and_files(store: Store, tmp_path: Path) -> None:
    store.create("a", 8 * MIB)
    with store.open("a") as image:
        image.write(100, b"x" * (3 * MIB))
    store.create_snapshot("a@1")
    with (tmp_path / "diff").open("wb") as file, store.open("a@1") as image:
        export_diff(image, None, file)
    diff = (tmp_path / "diff").read_bytes()
    assert diff == diff_of(store, "a@1", None)
    for name in ("b", "c"):
        store.create(name, 0)
    with (tmp_path / "diff").open("rb") as file:
        import_diff(store, "b", file)
    with Feeder(diff) as pipe:
        import_diff(store, "c", pipe)
    assert content(store, "b@1") == content(store, "c@1") == content(store, "a@1")


def test_a_diff_of_the_head_makes_no_snapshot(store: Store) -> None:
    store.create("a", MIB)
    with store.open("a") as image:
        image.write(0, b"x")
    store.create("b", 5)
    import_diff(store, "b", io.BytesIO(diff_of(store, "a", None)))
    assert store.snapshots("b") == []
    assert content(store, "b") == content(store, "a")


@pytest.fixture
def backup(store: Store) -> bytes:
    """Image `a` with snapshots 1 and 2, image `b` as of 1, and the diff between them."""
    store.create("a", 16 * MIB)
    with store.open("a") as image:
        image.write(0, b"x" * (2 * MIB))
    store.create_snapshot("a@1")
    store.create("b", 0)
    import_diff(store, "b", io.BytesIO(diff_of(store, "a@1", None)))
    with store.open("a") as image:
        image.write(MIB, b"y" * (9 * MIB))
    store.create_snapshot("a@2")
    return diff_of(store, "a@2", "1")


def test_a_broken_stream_leaves_the_image_as_it_was(store: Store, backup: bytes) -> None:
    with store.open("b") as image:
        image.write(15 * MIB, b"own")  # not part of any snapshot, and still not lost
    before = content(store, "b"), store.stat("b").size, store.snapshots("b")
    for cut in (len(backup) - 1, len(backup) // 2, 40, 20, 5, 0):
        with pytest.raises(FormatError):
            import_diff(store, "b", io.BytesIO(backup[:cut]))
        assert (content(store, "b"), store.stat("b").size, store.snapshots("b")) == before
    with pytest.raises(FormatError, match="goes on"):
        import_diff(store, "b", io.BytesIO(backup + b"e"))
    assert (content(store, "b"), store.stat("b").size, store.snapshots("b")) == before
    import_diff(store, "b", io.BytesIO(backup))
    assert [s.name for s in store.snapshots("b")] == ["1", "2"]


def test_an_interrupted_import_leaves_the_image_as_it_was(store: Store, backup: bytes) -> None:
    before = content(store, "b"), store.snapshots("b")

    def stop(done: int, total: int) -> None:
        assert total == len(backup)
        if done > 4 * MIB:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_diff(store, "b", io.BytesIO(backup), progress=stop)
    assert (content(store, "b"), store.snapshots("b")) == before


def test_a_diff_that_does_not_fit(store: Store, backup: bytes) -> None:
    store.create("c", 0)
    with pytest.raises(InvalidArgument, match="starts from"):
        import_diff(store, "c", io.BytesIO(backup))
    import_diff(store, "b", io.BytesIO(backup))
    with pytest.raises(AlreadyExists):
        import_diff(store, "b", io.BytesIO(backup))
    with pytest.raises(NotFound):
        import_diff(store, "d", io.BytesIO(backup))
    with store.open("a@1") as image, pytest.raises(InvalidArgument):
        export_diff(image, "2", io.BytesIO())
    with store.open("a") as image, pytest.raises(NotFound):
        export_diff(image, "3", io.BytesIO())


def test_names_in_a_diff_are_not_trusted(store: Store) -> None:
    store.create("b", 0)
    for name in (b"a@b", b"a/b", b"\n"):
        stream = b"rbd diff v1\nt" + len(name).to_bytes(4, "little") + name + b"s" + bytes(8) + b"e"
        with pytest.raises(InvalidArgument):
            import_diff(store, "b", io.BytesIO(stream))
    stream = b"rbd diff v1\ns" + (1 << 63).to_bytes(8, "little") + b"e"
    with pytest.raises(InvalidArgument):
        import_diff(store, "b", io.BytesIO(stream))
    assert store.stat("b").size == 0
    assert store.snapshots("b") == []
