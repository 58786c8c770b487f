"""Which format the first bytes are taken for, and that looking moves nothing."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from cowshed.formats.probe import Format, probe
from formats.qcow2_images import Layout, needs_qemu, qemu_img

HEADS = [
    (b"", Format.RAW),
    (b"Q", Format.RAW),
    (b"QFI", Format.RAW),
    (b"QFI\xfb", Format.QCOW2),
    (Layout(512).bytes(), Format.QCOW2),
    (b"KDMV\1\0\0\0", Format.VMDK),
    (b"COWD\1\0\0\0", Format.VMDK),
    (b"# Disk DescriptorFile\nversion=1\n", Format.VMDK),
    (b"vhdxfile", Format.VHDX),
    (bytes(64) + b"\x7f\x10\xda\xbe", Format.VDI),
    (bytes(64) + b"\x7f\x10\xda", Format.RAW),
    (bytes(4096), Format.RAW),
    (b"\0QFI\xfb", Format.RAW),
]


@pytest.mark.parametrize(("head", "kind"), HEADS)
def test_magic(tmp_path: Path, head: bytes, kind: Format) -> None:
    (tmp_path / "f").write_bytes(head)
    with (tmp_path / "f").open("rb") as file:
        assert probe(file) is kind
        assert file.read() == head
    memory = io.BytesIO(b"before" + head)
    memory.seek(6)
    assert probe(memory) is kind
    assert memory.read() == head


@pytest.mark.parametrize(("head", "kind"), HEADS)
def test_a_pipe_is_looked_into(head: bytes, kind: Format) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, head)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert probe(pipe) is kind
        assert pipe.read() == head


def test_a_pipe_that_cannot_be_looked_into_is_raw() -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"QFI\xfb")
    os.close(write_end)
    with os.fdopen(read_end, "rb", buffering=0) as pipe:
        assert probe(pipe) is Format.RAW
        assert pipe.read() == b"QFI\xfb"


@needs_qemu
@pytest.mark.parametrize("kind", list(Format))
def test_what_qemu_makes(tmp_path: Path, kind: Format) -> None:
    qemu_img("create", "-q", "-f", kind.value, tmp_path / "f", "1M")
    with (tmp_path / "f").open("rb") as file:
        assert probe(file) is kind
