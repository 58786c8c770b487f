"""Images with all their snapshots in and out, in rbd's export format 2; diffs of both versions, merged."""

from __future__ import annotations

import hashlib
import io
import random
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest

from behaviour.test_transfer import Feeder, content, diff_of
from cowshed.errors import AlreadyExists, FormatError, InvalidArgument, NoSpace, NotFound
from cowshed.formats.diff import Data, Header, Zeros
from cowshed.formats.export_v2 import BANNER, DIFFS_BANNER, ImageHeader, Reader
from cowshed.store import Store
from cowshed.transfer import export_with_snapshots, import_diff, import_with_snapshots, merge_diff
from formats.mutations import Endless, mutations
from formats.test_diff_v2 import number, record
from formats.test_diff_v2 import written as diff_bytes
from formats.test_export_v2 import LAST, Diff
from formats.test_export_v2 import written as export_bytes

MIB = 1 << 20
BLOCK = 4096


def export_of(store: Store, spec: str) -> bytes:
    out = io.BytesIO()
    export_with_snapshots(store, spec, out)
    return out.getvalue()


def everything(store: Store, spec: str) -> list[object]:
    """All that an export carries, the contents as hashes."""
    stat = store.stat(spec)
    versions = [(s.name, s.size, s.protected, f"{spec}@{s.name}") for s in store.snapshots(spec)]
    hashes = [hashlib.sha256(content(store, one)).hexdigest() for one in (*(v[3] for v in versions), spec)]
    plain = [version[:3] for version in versions]
    return [stat.size, stat.order, stat.features, store.metadata(spec), plain, hashes]


@pytest.fixture
def disk(store: Store) -> str:
    """An image with snapshots of several sizes, some protected, and metadata."""
    rng = random.Random(5)
    features = ("layering", "exclusive-lock", "object-map", "fast-diff")
    store.create("disk", 3 * MIB + 100, order=23, features=features)
    store.set_metadata("disk", "os", "🐮 linux")
    store.set_metadata("disk", "conf_rbd_cache", "false")
    for i in range(5):
        with store.open("disk") as image:
            for _ in range(6):
                offset = rng.randrange(image.size)
                length = min(image.size - offset, rng.randrange(1, 100_000))
                if rng.random() < 0.3:
                    image.discard(offset, length)
                else:
                    image.write(offset, rng.randbytes(length))
        if i in (1, 3):
            store.resize("disk", rng.randrange(MIB, 5 * MIB), allow_shrink=True)
        store.create_snapshot(f"disk@s{i}")
        if i in (0, 3):
            store.protect_snapshot(f"disk@s{i}")
    with store.open("disk") as image:
        image.write(5, b"the head")
    return "disk"


def test_there_and_back(store: Store, disk: str, tmp_path: Path) -> None:
    stream = export_of(store, disk)
    with (tmp_path / "export").open("wb") as file:
        export_with_snapshots(store, disk, file)
    assert (tmp_path / "export").read_bytes() == stream
    import_with_snapshots(store, "memory", io.BytesIO(stream))
    with (tmp_path / "export").open("rb") as file:
        import_with_snapshots(store, "file", file)
    with Feeder(stream) as pipe:
        import_with_snapshots(store, "pipe", pipe)
    for name in ("memory", "file", "pipe"):
        assert everything(store, name) == everything(store, disk)
        # Not those of the first: blocks of nothing but zeros were data there, and are none in a copy.
        assert export_of(store, name) == export_of(store, "memory")
    assert list(store.images("rbd")) == ["disk", "file", "memory", "pipe"]


def test_only_what_changed_is_written_and_kept(store: Store) -> None:
    store.create("a", 8 * MIB)
    with store.open("a") as image:
        image.write(0, b"x" * (2 * MIB))
    for i in range(10):
        store.create_snapshot(f"a@{i}")
        with store.open("a") as image:
            image.write(i * BLOCK, b"y" * BLOCK)
    stream = export_of(store, "a")
    assert len(stream) < 2 * MIB + 10 * BLOCK + 2000
    used = store.store_usage().used
    import_with_snapshots(store, "b", io.BytesIO(stream))
    assert store.store_usage().used == 2 * used


def test_a_snapshot_of_before_a_rollback(store: Store) -> None:
    store.create("a", MIB)
    for i in range(3):
        with store.open("a") as image:
            image.write(i * BLOCK, bytes([i + 1]) * BLOCK)
        store.create_snapshot(f"a@{i}")
    store.rollback("a@0")
    with store.open("a") as image:
        image.write(7 * BLOCK, b"behind")
    store.create_snapshot("a@3")
    import_with_snapshots(store, "b", io.BytesIO(export_of(store, "a")))
    assert everything(store, "b") == everything(store, "a")


def test_a_clone_is_exported_with_its_parents_data(store: Store, disk: str) -> None:
    store.clone("disk@s2", "child")
    import_with_snapshots(store, "b", io.BytesIO(export_of(store, "child")))
    assert content(store, "b") == content(store, "disk@s2")
    assert store.stat("b").parent is None


def test_the_header_that_is_written(store: Store) -> None:
    store.create("a", MIB, order=20)
    store.create_snapshot("a@s")
    store.clone("a@s", "b", clone_format=2)
    assert "operations" in store.stat("a").features
    header = Reader(io.BytesIO(export_of(store, "a"))).header
    assert header == ImageHeader(order=20, features=61, stripe_unit=MIB, stripe_count=1)


def test_what_the_stream_may_leave_to_the_store(store: Store) -> None:
    stream = export_bytes(ImageHeader(), [(Header(None, "s", 9), [Data(0, bytearray(b"x"))])])
    import_with_snapshots(store, "a", io.BytesIO(stream))
    store.create("plain", 9)
    assert (store.stat("a").order, store.stat("a").features) == (22, store.stat("plain").features)
    assert content(store, "a") == content(store, "a@s") == b"x" + bytes(8)
    import_with_snapshots(
        store, "b", io.BytesIO(export_bytes(ImageHeader(order=20), [(Header(None, None, 1), [])]))
    )
    assert store.stat("b").order == 20
    import_with_snapshots(
        store, "c", io.BytesIO(export_bytes(ImageHeader(order=20), [(Header(None, None, 1), [])])), order=21
    )
    assert store.stat("c").order == 21


def test_features_that_no_image_here_has_are_left_out(store: Store) -> None:
    every = (1 << 64) - 1
    stream = export_bytes(ImageHeader(features=every), [(Header(None, None, 1), [])])
    import_with_snapshots(store, "a", io.BytesIO(stream))
    assert store.stat("a").features == (
        "layering",
        "exclusive-lock",
        "object-map",
        "fast-diff",
        "deep-flatten",
        "journaling",
    )


def test_the_striping_goes_along_where_it_fits(store: Store) -> None:
    store.create("a", MIB, order=20, striping=(65536, 3))
    stream = export_of(store, "a")
    assert Reader(io.BytesIO(stream)).header == ImageHeader(20, 63, stripe_unit=65536, stripe_count=3)
    for name, order, striping in (("b", None, (65536, 3)), ("c", 22, (65536, 3)), ("d", 12, None)):
        import_with_snapshots(store, name, io.BytesIO(stream), order=order)
        assert store.stat(name).striping == striping
    store.create("plain", MIB, order=20)
    import_with_snapshots(store, "e", io.BytesIO(export_of(store, "plain")), order=22)
    assert store.stat("e").striping is None
    for strange in (ImageHeader(1 << 40, None, 1, 1), ImageHeader(20, None, 1 << 63, 1 << 63)):
        stream = export_bytes(strange, [(Header(None, None, 1), [])])
        with suppress(InvalidArgument):
            import_with_snapshots(store, "f", io.BytesIO(stream))
            assert store.stat("f").striping is None


def test_names_and_numbers_are_not_trusted(store: Store) -> None:
    last: Diff = (Header(None, None, 1), [])
    cases: list[tuple[ImageHeader, list[Diff]]] = [
        (ImageHeader(order=1 << 63), [last]),
        (ImageHeader(features=8), [last]),
        (ImageHeader(metadata={"k" * 5000: ""}), [last]),
        (ImageHeader(), [(Header(None, None, 1 << 63), [])]),
        (ImageHeader(), [(Header(None, "a@b", 1), [])]),
        (ImageHeader(), [(Header(None, "\n", 1), [])]),
        (ImageHeader(), [(Header(None, "n" * 300, 1), [])]),
    ]
    for header, diffs in cases:
        with pytest.raises(InvalidArgument):
            import_with_snapshots(store, "a", io.BytesIO(export_bytes(header, diffs)))
        assert list(store.images("rbd")) == []
    twice: list[Diff] = [
        (Header(before, name, 1, True), []) for before, name in ((None, "a"), ("a", "b"), ("b", "a"))
    ]
    with pytest.raises(FormatError, match="holds two snapshots 'a'"):
        import_with_snapshots(store, "a", io.BytesIO(export_bytes(ImageHeader(), twice)))
    assert list(store.images("rbd")) == []


def test_taken_names_are_told_at_once(store: Store, disk: str) -> None:
    with pytest.raises(AlreadyExists):
        import_with_snapshots(store, disk, io.BytesIO())
    with pytest.raises(NotFound):
        import_with_snapshots(store, "nowhere/a", io.BytesIO(export_of(store, disk)))
    with pytest.raises(NotFound):
        export_with_snapshots(store, "nothing", io.BytesIO())


def test_every_cut_leaves_nothing(store: Store, disk: str) -> None:
    stream = export_of(store, disk)
    used = store.store_usage().used
    rng = random.Random(8)
    cuts = {0, 12, 100, len(stream) - 1, *(rng.randrange(len(stream)) for _ in range(12))}
    for cut in sorted(cuts):
        with pytest.raises(FormatError):
            import_with_snapshots(store, "copy", io.BytesIO(stream[:cut]))
        assert list(store.images("rbd")) == [disk]
    with pytest.raises(FormatError, match="goes on behind its 6 diffs"):
        import_with_snapshots(store, "copy", io.BytesIO(stream + b"\0"))
    store.reclaim()
    assert list(store.images("rbd")) == [disk]
    assert store.store_usage().used == used


def test_damaged_exports_are_imported_or_leave_nothing(store: Store) -> None:
    stream = export_bytes(
        ImageHeader(22, 61, 4 * MIB, 1, {"os": "cow"}),
        [
            (Header(None, "a", 9000, protected=True), [Data(4000, bytearray(b"data" * 9)), Zeros(0, 50)]),
            (Header("a", "b", 20_000), [Zeros(4010, 5)]),
            (Header("b", None, 5000), [Data(0, bytearray(b"head"))]),
        ],
    )
    imported = 0
    for damaged in (stream, *mutations(stream, 150, b"OTUCMEftspwze")):
        with io.BytesIO(damaged) as file:
            try:
                import_with_snapshots(store, "copy", file)
            except (FormatError, InvalidArgument):
                assert list(store.images("rbd")) == []
                continue
        imported += 1
        for snapshot in store.snapshots("copy"):
            if snapshot.protected:
                store.unprotect_snapshot(f"copy@{snapshot.name}")
        store.purge_snapshots("copy")
        store.remove("copy")
    assert imported


@pytest.mark.parametrize(
    ("beginning", "again"),
    [
        (BANNER, record(b"O", number(22))),
        (BANNER, bytes(1)),
        (BANNER + b"E" + DIFFS_BANNER + number(1 << 20), LAST),
        (BANNER + b"E" + DIFFS_BANNER + number(1) + LAST, b"e"),
    ],
)
def test_endless_streams_leave_nothing(store: Store, beginning: bytes, again: bytes) -> None:
    with patch("cowshed.formats.export_v2.MAX_UNKNOWN", 1 << 16), pytest.raises(FormatError):
        import_with_snapshots(store, "copy", Endless(beginning, again))  # type: ignore[arg-type]
    assert list(store.images("rbd")) == []


def test_an_interrupted_import_leaves_nothing(store: Store, disk: str) -> None:
    stream = export_of(store, disk)

    def stop(done: int, total: int) -> None:
        assert total == len(stream)
        if done > total * 2 // 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_with_snapshots(store, "copy", io.BytesIO(stream), progress=stop)
    assert list(store.images("rbd")) == [disk]


def test_a_full_disk_is_told(store: Store, disk: str) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(NoSpace):
        export_with_snapshots(store, disk, full)


def test_progress_of_images(store: Store, disk: str) -> None:
    seen: list[tuple[int, int]] = []
    stream = io.BytesIO()
    export_with_snapshots(store, disk, stream, progress=lambda d, t: seen.append((d, t)))
    total = store.stat(disk).size + sum(s.size for s in store.snapshots(disk))
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)
    assert {t for _, t in seen} == {total}
    seen.clear()
    stream.seek(0)
    import_with_snapshots(store, "b", stream, progress=lambda d, t: seen.append((d, t)))
    size = len(stream.getvalue())
    assert seen[-1] == (size, size)
    assert seen == sorted(seen)
    with Feeder(stream.getvalue()) as pipe:
        import_with_snapshots(store, "c", pipe, progress=lambda d, t: seen.append((d, t)))
    assert seen[-2][1] == 0
    assert seen[-1] == (size, size)


def test_import_diff_reads_version_2(store: Store) -> None:
    store.create("a", 3)
    first = diff_bytes(Header(None, "1", 9, protected=True), [Data(2, bytearray(b"two"))])
    import_diff(store, "a", io.BytesIO(first))
    import_diff(store, "a", io.BytesIO(diff_bytes(Header("1", "2", 6), [Zeros(3, 1)])))
    assert content(store, "a@1") == b"\0\0two\0\0\0\0"
    assert content(store, "a@2") == b"\0\0t\0o\0"
    assert [(s.name, s.protected) for s in store.snapshots("a")] == [("1", True), ("2", False)]
    with pytest.raises(FormatError):
        import_diff(store, "a", io.BytesIO(diff_bytes(Header("2", "3", 6), [Zeros(3, 1)])[:-1]))
    assert content(store, "a") == b"\0\0t\0o\0"


@pytest.mark.parametrize("version", [1, 2])
def test_damaged_diffs_are_applied_or_leave_the_image(store: Store, version: int) -> None:
    store.create("a", 9000)
    with store.open("a") as image:
        image.write(10, b"content")
    store.create_snapshot("a@1")
    before = content(store, "a"), store.snapshots("a")
    stream = diff_bytes(
        Header("1", "2", 12_000, protected=True), [Data(8, bytearray(b"changed")), Zeros(4000, 99)], version
    )
    applied = 0
    for damaged in (stream, *mutations(stream, 100, b"ftspwze")):
        try:
            import_diff(store, "a", io.BytesIO(damaged))
        except (FormatError, InvalidArgument, AlreadyExists):
            assert (content(store, "a"), store.snapshots("a")) == before
            continue
        applied += 1
        store.rollback("a@1")
        for snapshot in store.snapshots("a")[1:]:
            if snapshot.protected:
                store.unprotect_snapshot(f"a@{snapshot.name}")
            store.remove_snapshot(f"a@{snapshot.name}")
    assert applied


def test_merged_diffs_of_a_store(store: Store, disk: str, tmp_path: Path) -> None:
    whole = tmp_path / "0"
    whole.write_bytes(diff_of(store, "disk@s0", None))
    for i, (before, end) in enumerate(pairwise(f"s{i}" for i in range(5))):
        both = tmp_path / str(i + 1)
        with (
            Feeder(diff_of(store, f"disk@{end}", before)) as pipe,
            whole.open("rb") as file,
            both.open("wb") as out,
        ):
            merge_diff(file, pipe, out)
        whole = both
    store.create("copy", 77)
    with whole.open("rb") as file:
        import_diff(store, "copy", file)
    assert content(store, "copy@s4") == content(store, "disk@s4")
    assert whole.read_bytes().startswith(b"rbd diff v1\n")


def test_progress_of_merging(store: Store, disk: str) -> None:
    seen: list[tuple[int, int]] = []
    first, second = diff_of(store, "disk@s1", "s0"), diff_of(store, "disk@s2", "s1")
    merge_diff(io.BytesIO(first), io.BytesIO(second), io.BytesIO(), progress=lambda d, t: seen.append((d, t)))
    total = len(first) + len(second)
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)
    assert {t for _, t in seen} == {total}


def test_diffs_behind_diffs_are_not_merged(store: Store, disk: str) -> None:
    first, second = diff_of(store, "disk@s1", "s0"), diff_of(store, "disk@s2", "s1")
    for streams in ((first + b"e", second), (first, second + b"\0")):
        with pytest.raises(FormatError, match="goes on behind its end record"):
            merge_diff(io.BytesIO(streams[0]), io.BytesIO(streams[1]), io.BytesIO())
