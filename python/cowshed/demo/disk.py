"""The disk image that the story is told with: one given, or one made with a real file system in it."""

from __future__ import annotations

import mmap
import os
import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cowshed.demo.fat import write_fat16
from cowshed.errors import InvalidArgument, NotFound

BLOCK = 4096
MADE_SIZE = 48 << 20
PAYLOAD_BLOCKS = 3072
SMALL_FILES = 200
MARK = b"cowshed demo payload "
TOOLS = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""Where to look for tools; Debian keeps mkfs and fsck off the PATH of ordinary users."""


@dataclass(frozen=True)
class Disk:
    """A raw disk image in a file."""

    path: Path
    size: int
    kind: str
    """For people: `ext4, 201 files`."""
    file_blocks: list[int]
    """Blocks that may be overwritten and leave the file system sound, since they hold file data."""
    fsck: list[str] | None
    """The command that checks the file system in an image whose path is put behind it."""


def given_disk(path: Path) -> Disk:
    """The user's own raw image. Any block may be overwritten: nothing is known of what is in it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(4)
    except FileNotFoundError:
        raise NotFound(f"there is no file '{path}'", hint="--image takes a raw disk image") from None
    if not path.is_file():
        raise InvalidArgument(f"'{path}' is not a file", hint="--image takes a raw disk image")
    if head == b"QFI\xfb":
        raise InvalidArgument(
            f"'{path}' is a qcow2 image", hint="`qemu-img convert -O raw` makes a raw one of it"
        )
    if size < 1 << 20:
        raise InvalidArgument(f"'{path}' has {size} bytes, too few for the story", hint="1 MiB is the least")
    return Disk(path, size, "your image", list(range(min(size // BLOCK, 1 << 20))), None)


def made_disk(folder: Path, seed: int) -> Disk:
    """An ext4 image where mkfs.ext4 is there and works, else a FAT16 one."""
    files = _files(random.Random(seed))
    path = folder / "disk.raw"
    mkfs = shutil.which("mkfs.ext4", path=TOOLS)
    if mkfs and _make_ext4(mkfs, path, folder / "files", files):
        kind, fsck = "ext4", _tool("e2fsck", "-fn")
    else:
        with path.open("wb") as out:
            write_fat16(out, MADE_SIZE, "FILES", files)
        kind, fsck = "FAT16", _tool("fsck.vfat", "-n")
    size = path.stat().st_size
    return Disk(path, size, f"{kind}, {len(files)} files", _payload_blocks(path), fsck)


def _tool(name: str, *options: str) -> list[str] | None:
    found = shutil.which(name, path=TOOLS)
    return [found, *options] if found else None


def _files(dice: random.Random) -> dict[str, bytes]:
    files = {f"PART{i:04}.BIN": dice.randbytes(dice.randrange(40_000)) for i in range(SMALL_FILES)}
    blocks = (MARK + b"%08d " % i + dice.randbytes(BLOCK - len(MARK) - 9) for i in range(PAYLOAD_BLOCKS))
    files["PAYLOAD.BIN"] = b"".join(blocks)
    return files


def _make_ext4(mkfs: str, path: Path, folder: Path, files: dict[str, bytes]) -> bool:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command = [mkfs, "-q", "-F", "-b", str(BLOCK), "-d", str(folder), str(path), f"{MADE_SIZE >> 20}M"]
    try:
        made = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        made = False
    shutil.rmtree(folder)
    return made


def _payload_blocks(path: Path) -> list[int]:
    """Where the file system has put the blocks of the payload, found by their mark."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [at // BLOCK for at in range(0, len(content), BLOCK) if content[at : at + len(MARK)] == MARK]
