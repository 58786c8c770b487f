"""The demo: it succeeds, it says so, and it fails when a single block is wrong."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from cli.conftest import Program
from cowshed.demo import disk as demo_disk
from cowshed.demo import story
from cowshed.demo.fat import write_fat16
from cowshed.demo.record import Record
from cowshed.store import Image
from model.kernel_module import REAL

needs_kernel = pytest.mark.skipif(not REAL, reason="cowshed._kernel is not built: there is no store to show")


@needs_kernel
def test_demo(anywhere: Program, tmp_path: Path) -> None:
    told = anywhere.run("demo", "--snapshots", 200, "--seed", 1, env={"TMPDIR": str(tmp_path)})
    assert (told.status, told.err) == (0, "")
    assert "seed 1" in told.text
    assert "checks held." in told.text
    assert "\x1b" not in told.text
    assert "\r" not in told.text
    assert list(tmp_path.iterdir()) == []


@needs_kernel
def test_demo_on_ones_own_image_keeps_the_store(anywhere: Program, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    image = tmp_path / "mine.raw"
    content = random.Random(2).randbytes((2 << 20) + 512)
    image.write_bytes(content)
    told = anywhere.run(
        "demo", "--snapshots", 50, "--keep", "--image", image, env={"TMPDIR": str(tmp_path / "tmp")}
    )
    assert (told.status, told.err) == (0, ""), told.text
    assert image.read_bytes() == content
    (folder,) = (tmp_path / "tmp").iterdir()
    kept = Program(folder / "store")
    assert "images/vm007-snapshot\n" not in kept("ls", "vms").text
    assert "vm007-snapshot" in kept("ls", "images").text
    assert kept("check").text == "the store is sound\n"


@pytest.mark.parametrize(("content", "complaint"), [(b"", "too few"), (b"QFI\xfb" * 500_000, "qcow2")])
def test_images_it_refuses(anywhere: Program, tmp_path: Path, content: bytes, complaint: str) -> None:
    if not REAL:
        pytest.skip("cowshed._kernel is not built")
    (tmp_path / "image").write_bytes(content)
    assert complaint in anywhere.fails(22, "demo", "--image", tmp_path / "image")
    anywhere.fails(2, "demo", "--image", tmp_path / "nope")


def tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(demo_disk, "_make_ext4", lambda *_: False)
    return story.tell(image=None, snapshots=20, seed=3, keep=False)


def test_it_notices_a_wrong_block_on_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A write that does not arrive, once."""
    from cowshed.local.image import LocalImage

    write = LocalImage.write
    writes = 0

    def lossy(self: Image, offset: int, data: bytes) -> None:
        nonlocal writes
        writes += len(data) == 4096
        if writes != 700:
            write(self, offset, data)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalImage, "write", lossy)
    assert tell(monkeypatch, tmp_path) == 1
    told = capsys.readouterr().out
    assert "WRONG" in told
    assert "checks FAILED:" in told


def test_it_is_content_when_nothing_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(monkeypatch, tmp_path) == 0
    told = capsys.readouterr().out
    assert "FAT16, 201 files" in told
    assert "WRONG" not in told
    assert list(tmp_path.iterdir()) == []


def test_fat_image_is_sound(tmp_path: Path) -> None:
    fsck = demo_disk._tool("fsck.vfat", "-n")
    if fsck is None:
        pytest.skip("fsck.vfat (dosfstools) is not installed")
    files = {f"FILE{i}.BIN": bytes([i]) * (i * 3000) for i in range(150)}
    with (tmp_path / "fat.raw").open("wb") as out:
        write_fat16(out, 40 << 20, "STUFF", files)
    ended = subprocess.run([*fsck, str(tmp_path / "fat.raw")], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


def test_made_images_are_of_the_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo_disk, "_make_ext4", lambda *_: False)
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        made = demo_disk.made_disk(tmp_path / name, seed)
        assert len(made.file_blocks) == demo_disk.PAYLOAD_BLOCKS
        contents.append(made.path.read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_record_reads_what_was_written() -> None:
    dice = random.Random(4)
    base = dice.randbytes(1 << 20)
    naive = bytearray(base)
    record = Record.of(memoryview(base), dice)
    for _ in range(50):
        block = dice.randrange(256)
        content = dice.randbytes(4096)
        naive[block * 4096 : block * 4096 + 4096] = content
        before = record.copy()
        record.write(block, content)
        assert record.digest() != before.digest()
    for _ in range(200):
        offset = dice.randrange(1 << 20)
        length = dice.randrange((1 << 20) - offset)
        assert record.read(offset, length) == naive[offset : offset + length]
