"""Images of other formats in and out: the same content, or one error and a store as it was."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
from pathlib import Path
from typing import BinaryIO

import pytest

from cowshed.errors import AlreadyExists, CowshedError, FormatError, InvalidArgument, NotFound
from cowshed.formats.probe import Format
from cowshed.store import Store
from cowshed.transfer import export_qcow2, import_image
from formats.qcow2_images import Layout, backing_format, by_qemu, needs_qemu, qemu_img

MIB = 1 << 20


def content(store: Store, spec: str) -> bytes:
    with store.open(spec, read_only=True) as image:
        return image.read(0, image.size)


@pytest.fixture(scope="module")
def patchy() -> bytes:
    """Data with holes, at odd places; whole sectors."""
    dice = random.Random(4)
    data = bytearray(5 * MIB + 512)
    for _ in range(8):
        at, length = dice.randrange(5 * MIB), dice.randrange(1, MIB // 2)
        data[at : at + length] = dice.randbytes(length)
    return bytes(data[: 5 * MIB + 512])


def exported(store: Store, spec: str, path: Path) -> Path:
    with store.open(spec, read_only=True) as image, path.open("wb") as file:
        export_qcow2(image, file)
    return path


def test_qcow2_there_and_back(store: Store, tmp_path: Path, patchy: bytes) -> None:
    import_image(store, "a", io.BytesIO(patchy))
    path = exported(store, "a", tmp_path / "a.qcow2")
    sources: list[Path | str | BinaryIO] = [path, str(path), io.BytesIO(path.read_bytes())]
    for turn, source in enumerate(sources):
        import_image(store, f"b{turn}", source, order=20)
        assert content(store, f"b{turn}") == patchy
        assert store.stat(f"b{turn}").order == 20
        assert store.usage(f"b{turn}") == store.usage("a")
    assert sorted(store.images("rbd")) == ["a", "b0", "b1", "b2"]


def test_raw_that_is_said_to_be_raw_stays_as_it_is(store: Store) -> None:
    image = Layout(4096).data(0, b"x" * 4096).bytes()
    import_image(store, "a", io.BytesIO(image), format="raw")
    assert content(store, "a") == image
    import_image(store, "b", io.BytesIO(image))
    assert content(store, "b") == b"x" * 4096


@needs_qemu
@pytest.mark.parametrize("size", [0, 1, 4096, 3 * MIB + 5])
def test_what_is_exported_satisfies_qemu(store: Store, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    import_image(store, "a", io.BytesIO(data))
    store.create_snapshot("a@s")
    if size:
        with store.open("a") as image:
            image.discard(0, size)
    path = exported(store, "a@s", tmp_path / "a.qcow2")
    qemu_img("check", "-f", "qcow2", path)
    assert by_qemu(path) == data.ljust(-(-size // 512) * 512, b"\0")
    assert path.stat().st_size > exported(store, "a", tmp_path / "b.qcow2").stat().st_size or not size


@needs_qemu
@pytest.mark.parametrize("kind", [Format.VMDK, Format.VHDX, Format.VDI])
def test_through_qemu_img(store: Store, tmp_path: Path, patchy: bytes, kind: Format) -> None:
    (tmp_path / "raw").write_bytes(patchy)
    path = tmp_path / "json:{a},file.driver=x"
    qemu_img("convert", "-f", "raw", "-O", kind.value, tmp_path / "raw", f"file:{path}")
    import_image(store, "a", path)
    import_image(store, "b", path, format=kind)
    for name in ("a", "b"):
        got = content(store, name)
        assert got.rstrip(b"\0") == patchy.rstrip(b"\0")
        assert len(got) - len(patchy) < MIB  # vhdx has megabytes, and vdi too
    with pytest.raises(InvalidArgument, match="snapshots"):
        import_image(store, "c", path, snapshot="s")
    with pytest.raises(InvalidArgument, match="must be a file"):
        import_image(store, "c", io.BytesIO(path.read_bytes()))
    for other in {Format.QCOW2, Format.VMDK, Format.VHDX, Format.VDI} - {kind}:
        with pytest.raises(FormatError, match=f"is no {other}"):
            import_image(store, "c", path, format=other)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(FormatError):
        import_image(store, "c", path)
    assert sorted(store.images("rbd")) == ["a", "b"]


@needs_qemu
def test_a_vmdk_that_names_other_files(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret" * 1000)
    for kind in ("monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"):
        path = tmp_path / f"{kind}.vmdk"
        qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={kind}", tmp_path / "secret", path)
        with pytest.raises(FormatError, match="names other files"):
            import_image(store, "a", path)
    base, child = tmp_path / "base.vmdk", tmp_path / "child.vmdk"
    qemu_img("convert", "-f", "raw", "-O", "vmdk", tmp_path / "secret", base)
    qemu_img("create", "-q", "-f", "vmdk", "-b", base, "-F", "vmdk", child)
    with pytest.raises(FormatError, match="names other files"):
        import_image(store, "a", child)
    # A sparse extent without a size is a list of files to QEMU too.
    head = bytearray(base.read_bytes())
    head[12:20] = bytes(8)
    (tmp_path / "liar.vmdk").write_bytes(head)
    with pytest.raises(FormatError, match="names other files"):
        import_image(store, "a", tmp_path / "liar.vmdk")
    assert list(store.images("rbd")) == []


def test_no_qemu_img(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    (tmp_path / "v").write_bytes(b"vhdxfile" + bytes(1000))
    with pytest.raises(NotFound, match="qemu-utils"):
        import_image(store, "a", tmp_path / "v")


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    (tmp_path / "base").write_bytes(b"b" * 8192)
    layout = Layout(8192, bits=12, backing=b"base", extensions=backing_format(b"raw")).data(1, b"o" * 4096)
    path = tmp_path / "top"
    path.write_bytes(layout.bytes())
    return path


def test_a_backing_file_is_followed_only_if_the_format_was_said(store: Store, overlay: Path) -> None:
    with pytest.raises(FormatError, match="--input-format"):
        import_image(store, "a", overlay)
    import_image(store, "a", overlay, format="qcow2")
    assert content(store, "a") == b"b" * 4096 + b"o" * 4096


def test_a_backing_file_outside_must_be_allowed(store: Store, overlay: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    layout = Layout(8192, bits=12, backing=b"../base", extensions=backing_format(b"raw"))
    path = tmp_path / "in" / "top"
    path.write_bytes(layout.bytes())
    with pytest.raises(FormatError, match="another folder"):
        import_image(store, "a", path, format="qcow2")
    import_image(store, "a", path, format="qcow2", allow_backing_outside=True)
    assert content(store, "a") == b"b" * 8192


def test_a_failed_import_leaves_nothing(store: Store, tmp_path: Path) -> None:
    # Two megabytes are well before the entry that lies.
    layout = Layout(8 * MIB, bits=16).data(0, b"x" * (2 * MIB)).entry(100, 1 << 40)
    before = store.store_usage().images
    with pytest.raises(FormatError, match="beyond its end"):
        import_image(store, "a", io.BytesIO(layout.bytes()))
    huge = bytearray(Layout(1 << 21, bits=21, l1_size=1 << 22).bytes())
    huge[24:32] = struct.pack(">Q", 1 << 61)
    with pytest.raises(CowshedError):
        import_image(store, "a", io.BytesIO(bytes(huge) + bytes(1 << 25)))
    with pytest.raises(InvalidArgument, match="there is no format"):
        import_image(store, "a", io.BytesIO(b""), format="vhd")
    with pytest.raises(InvalidArgument, match="snapshots"):
        import_image(store, "a", io.BytesIO(b""), snapshot="s")
    with pytest.raises(NotFound, match="nowhere"):
        import_image(store, "a", tmp_path / "nowhere")
    assert list(store.images("rbd")) == []
    assert store.store_usage().images == before
    store.reclaim()
    assert store.store_usage().used == 0
    store.create("a", MIB)
    with pytest.raises(AlreadyExists):
        import_image(store, "a", io.BytesIO(layout.bytes()))


@pytest.mark.parametrize("head", [b"QFI\xfb", b"vhdxfile"])
def test_only_raw_comes_through_a_pipe(store: Store, head: bytes) -> None:
    for format in ("auto", "raw"):
        read_end, write_end = os.pipe()
        os.write(write_end, head.ljust(600, b"\0"))
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            if format == "raw":
                import_image(store, "a", pipe, format=format)
                continue
            with pytest.raises(FormatError, match="from a pipe"):
                import_image(store, "a", pipe)
    assert content(store, "a") == head.ljust(600, b"\0")
