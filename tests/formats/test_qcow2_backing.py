"""Backing files: names from outside, followed no further than they may be."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from cowshed.errors import FormatError, NotFound
from cowshed.formats.qcow2 import Qcow2Source
from cowshed.formats.qcow2.backing import MAX_DEPTH
from formats.qcow2_images import Layout, backing_format, content, extension

BITS = 12
CLUSTER = 1 << BITS


def overlay(backing: str, kind: bytes = b"raw", size: int = 4 * CLUSTER) -> Layout:
    """An image of one cluster of `o`, the second, above a backing file."""
    layout = Layout(size, bits=BITS, backing=os.fsencode(backing), extensions=backing_format(kind))
    return layout.data(1, b"o" * CLUSTER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `base`, two clusters and a half of `b`; another beside it with the same."""
    for name in ("images", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "base").write_bytes(b"b" * (CLUSTER * 5 // 2))
    return tmp_path / "images"


EXPECTED = b"b" * CLUSTER + b"o" * CLUSTER + b"b" * (CLUSTER // 2) + bytes(CLUSTER * 3 // 2)


def made(folder: Path, layout: Layout, name: str = "top") -> Path:
    path = folder / name
    path.write_bytes(layout.bytes())
    return path


def test_a_shorter_raw_file(folder: Path) -> None:
    assert content(made(folder, overlay("base"))) == EXPECTED
    assert content(made(folder, overlay("./base"))) == EXPECTED
    assert content(made(folder, overlay(str(folder / "base")))) == EXPECTED


def test_the_format_is_found_behind_other_extensions(folder: Path) -> None:
    layout = overlay("base")
    layout.extensions = extension(77, b"12345") + extension(78, b"") + backing_format(b"raw")
    assert content(made(folder, layout)) == EXPECTED


def test_a_shorter_qcow2(folder: Path) -> None:
    made(folder, Layout(2 * CLUSTER + 100, bits=9).data(0, b"b" * (2 * CLUSTER + 512)), "short")
    whole = content(made(folder, overlay("short", b"qcow2")))
    assert whole == b"b" * CLUSTER + b"o" * CLUSTER + b"b" * 100 + bytes(2 * CLUSTER - 100)


def test_a_larger_file_is_cut_off(folder: Path) -> None:
    assert content(made(folder, overlay("base", size=2 * CLUSTER))) == b"b" * CLUSTER + b"o" * CLUSTER


def test_another_folder_must_be_allowed(folder: Path) -> None:
    outside = folder.parent / "elsewhere" / "base"
    for name in ("../elsewhere/base", str(outside)):
        top = made(folder, overlay(name))
        with pytest.raises(FormatError, match=r"another folder.*allow"):
            content(top)
        assert content(top, allow_backing_outside=True) == EXPECTED


def test_a_link_to_another_folder_must_be_allowed(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent / "elsewhere" / "base")
    top = made(folder, overlay("link"))
    with pytest.raises(FormatError, match="symbolic link"):
        content(top)
    assert content(top, allow_backing_outside=True) == EXPECTED
    (folder / "there").symlink_to(folder.parent / "elsewhere")
    (folder / "round").symlink_to("round")
    for name in ("there/base", "round/base"):
        with pytest.raises(FormatError, match="another folder"):
            content(made(folder, overlay(name)))


def test_the_rule_holds_at_every_step_of_a_chain(folder: Path) -> None:
    made(folder, overlay("../elsewhere/base"), "middle")
    with pytest.raises(FormatError, match=r"middle has a backing file .* in another folder"):
        content(made(folder, overlay("middle", b"qcow2")))


@pytest.mark.parametrize("name", ["json:{}", "nbd://host/x", "file:base", "fat:rw:x"])
def test_what_is_no_plain_file(folder: Path, name: str) -> None:
    with pytest.raises(FormatError, match="no plain file"):
        content(made(folder, overlay(name)))


def test_what_is_no_regular_file(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    for name in ("pipe", "folder", "/dev/zero", "."):
        top = made(folder, overlay(name))
        for anywhere in (False, True):
            with pytest.raises(Exception, match=r"regular file|another folder|directory"):
                content(top, allow_backing_outside=anywhere)


def test_the_format_must_be_said_and_be_one_of_two(folder: Path) -> None:
    top = overlay("base")
    top.extensions = b""
    with pytest.raises(FormatError, match=r"which format.*qemu-img rebase"):
        content(made(folder, top))
    with pytest.raises(FormatError, match="'vmdk'"):
        content(made(folder, overlay("base", b"vmdk")))
    with pytest.raises(FormatError, match="is no qcow2"):
        content(made(folder, overlay("base", b"qcow2")))


def test_a_raw_base_is_never_taken_for_more(folder: Path) -> None:
    inner = overlay("../elsewhere/base").bytes()
    (folder / "base").write_bytes(inner)
    whole = content(made(folder, overlay("base")))
    assert whole[:CLUSTER] == inner[:CLUSTER]


def test_loops(folder: Path) -> None:
    with pytest.raises(FormatError, match="loop"):
        content(made(folder, overlay("top", b"qcow2")))
    made(folder, overlay("b", b"qcow2"), "a")
    made(folder, overlay("a", b"qcow2"), "b")
    with pytest.raises(FormatError, match="loop"):
        content(made(folder, overlay("a", b"qcow2")))


def test_long_chains(folder: Path) -> None:
    for turn in range(MAX_DEPTH + 1):
        made(folder, overlay(str(turn - 1) if turn else "base", b"qcow2" if turn else b"raw"), str(turn))
    assert content(folder / str(MAX_DEPTH - 2)) == EXPECTED
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(FormatError, match=f"longer than {MAX_DEPTH}"):
        content(folder / str(MAX_DEPTH - 1))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_what_is_missing(folder: Path) -> None:
    with pytest.raises(NotFound, match="'gone', the backing file of"):
        content(made(folder, overlay("gone")))
    with pytest.raises(FormatError, match="no folder"), Qcow2Source(io.BytesIO(overlay("base").bytes())):
        pass


def test_none_is_followed_when_none_is_wanted(folder: Path) -> None:
    with (
        made(folder, overlay("base")).open("rb") as file,
        pytest.raises(FormatError, match="--input-format qcow2"),
    ):
        Qcow2Source(file, backing=False)
