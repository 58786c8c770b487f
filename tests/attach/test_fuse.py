"""A disk as a file: what is done to the file is done to the disk, and nothing else."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from attach.host import needs_blocks, needs_fuse, run, tool
from model.kernel_module import REAL

if not REAL:
    pytest.skip("cowshed._kernel is not built", allow_module_level=True)

from cowshed._kernel import Disk, FuseMount, Kernel, KernelError

pytestmark = needs_fuse

BLOCK = 4096
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    Kernel.create(tmp_path / "store")
    with Kernel.open(tmp_path / "store", background=False) as kernel:
        yield kernel
        assert kernel.check() == []


@pytest.fixture
def room(tmp_path: Path) -> Path:
    room = tmp_path / "mnt"
    room.mkdir()
    return room


def new_disk(kernel: Kernel, size: int) -> Disk:
    transaction = kernel.transaction()
    head = transaction.create(size)
    transaction.commit()
    return kernel.disk(head)


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2), which Python's `os` does not have with modes."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    call = getattr(libc, "fallocate64", libc.fallocate)
    if call(fd, mode, ctypes.c_longlong(offset), ctypes.c_longlong(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def test_the_file_is_the_disk(kernel: Kernel, room: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    size = (3 << 20) + 1536
    disk = new_disk(kernel, size)
    oracle = bytearray(size)
    mount = FuseMount.mount(disk, room, file="it")
    path = Path(mount.path)
    assert path == room / "it"
    assert [entry.name for entry in room.iterdir()] == ["it"]
    assert path.stat().st_size == size
    fd = os.open(path, os.O_RDWR)
    try:
        for _ in range(400):
            offset = dice.randrange(size)
            length = min(dice.choice([1, 511, 4096, 8192, 70_000, 1_500_000]), size - offset)
            if dice.random() < 0.5:
                offset -= offset % BLOCK
            match dice.randrange(4):
                case 0:
                    data = dice.randbytes(length)
                    assert os.pwrite(fd, data, offset) == length
                    oracle[offset : offset + length] = data
                case 1:
                    mode = dice.choice([PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE])
                    fallocate(fd, mode, offset, length)
                    oracle[offset : offset + length] = bytes(length)
                case 2:
                    os.fsync(fd)
                case _:
                    assert os.pread(fd, length, offset) == oracle[offset : offset + length]
        assert os.pread(fd, size + 100, 0) == oracle
    finally:
        os.close(fd)
        mount.unmount()
    assert disk.read(0, size) == oracle
    assert mount.wait() is None


def test_many_threads(kernel: Kernel, room: Path) -> None:
    disk = new_disk(kernel, 64 << 20)
    mount = FuseMount.mount(disk, room, threads=4)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        dice = random.Random(number)
        fd = os.open(mount.path, os.O_RDWR)
        try:
            for turn in range(60):
                offset = (8 * number << 20) + dice.randrange(7 << 20)
                data = bytes([number + 1, turn]) * dice.randrange(1, 300_000)
                os.pwrite(fd, data, offset)
                assert os.pread(fd, len(data), offset) == data
        except BaseException as error:
            failed.append(error)
        finally:
            os.close(fd)

    workers = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    mount.unmount()
    assert failed == []


def test_only_an_fsync_makes_it_durable(kernel: Kernel, room: Path) -> None:
    disk = new_disk(kernel, 1 << 20)
    mount = FuseMount.mount(disk, room)
    with Path(mount.path).open("r+b", buffering=0) as file:
        file.write(b"x" * BLOCK)
        # The record of a version is that of the last commit.
        assert kernel.version(disk.version).mapped_blocks == 1
        before = kernel.space().metadata_bytes
        os.fsync(file.fileno())
        assert kernel.space().metadata_bytes > before
    mount.unmount()


def test_holes_give_their_space_back(kernel: Kernel, room: Path) -> None:
    disk = new_disk(kernel, 1 << 20)
    mount = FuseMount.mount(disk, room)
    with Path(mount.path).open("r+b", buffering=0) as file:
        file.write(b"x" * (1 << 20))
        assert kernel.version(disk.version).mapped_blocks == 256
        # To the end of the file and beyond it.
        fallocate(file.fileno(), PUNCH_HOLE | KEEP_SIZE, 16 * BLOCK, 1 << 30)
        assert kernel.version(disk.version).mapped_blocks == 16
        fallocate(file.fileno(), ZERO_RANGE, 0, 8 * BLOCK)
        assert kernel.version(disk.version).mapped_blocks == 8
    mount.unmount()


def test_a_snapshot_is_read_only(kernel: Kernel, room: Path) -> None:
    disk = new_disk(kernel, 1 << 20)
    disk.write(0, b"before")
    transaction = kernel.transaction()
    frozen = transaction.freeze(disk.version)
    transaction.commit()
    disk.write(0, b"after!")
    mount = FuseMount.mount(kernel.disk(frozen), room)
    assert Path(mount.path).read_bytes()[:6] == b"before"
    for flags in (os.O_RDWR, os.O_WRONLY):
        with pytest.raises(OSError, match="Read-only") as refused:
            os.close(os.open(mount.path, flags))
        assert refused.value.errno == errno.EROFS
    mount.unmount()


def test_a_disk_can_be_shown_read_only(kernel: Kernel, room: Path) -> None:
    disk = new_disk(kernel, 1 << 20)
    mount = FuseMount.mount(disk, room, read_only=True)
    disk.write(0, b"live")
    assert Path(mount.path).read_bytes()[:4] == b"live"
    with pytest.raises(OSError, match="Read-only"):
        os.close(os.open(mount.path, os.O_RDWR))
    mount.unmount()


def test_what_a_disk_cannot_do_the_file_cannot(kernel: Kernel, room: Path) -> None:
    disk = new_disk(kernel, 1 << 20)
    mount = FuseMount.mount(disk, room)
    with Path(mount.path).open("r+b", buffering=0) as file:
        os.utime(mount.path)
        file.truncate(1 << 20)
        for refused in (
            lambda: file.truncate(2 << 20),
            lambda: file.truncate(0),
            lambda: os.pwrite(file.fileno(), b"x" * 8, (1 << 20) - 4),
            lambda: fallocate(file.fileno(), ZERO_RANGE, 0, 2 << 20),
            lambda: fallocate(file.fileno(), 0, 0, 4096),
            lambda: (room / "another").write_bytes(b""),
            lambda: Path(mount.path).unlink(),
            lambda: Path(mount.path).rename(room / "other"),
        ):
            with pytest.raises(OSError):  # noqa: PT011
                refused()
        assert os.fstat(file.fileno()).st_size == 1 << 20
        assert os.pread(file.fileno(), 10, 1 << 20) == b""
    assert disk.read(0, 1 << 20) == bytes(1 << 20)
    mount.unmount()


def test_an_open_file_keeps_it_mounted(kernel: Kernel, room: Path) -> None:
    disk = new_disk(kernel, 1 << 20)
    mount = FuseMount.mount(disk, room)
    with Path(mount.path).open("rb", buffering=0) as file:
        with pytest.raises(KernelError, match="in use") as refused:
            mount.unmount()
        assert refused.value.kind == "conflict"
        assert file.read(4) == bytes(4)
    mount.unmount()
    assert list(room.iterdir()) == []
    mount.unmount()


def test_somebody_else_unmounts_it(kernel: Kernel, room: Path) -> None:
    mount = FuseMount.mount(new_disk(kernel, 1 << 20), room)
    run(tool("umount", "mount"), room)
    assert mount.wait() is None
    mount.unmount()


def test_what_fails_is_told_in_words(kernel: Kernel, room: Path) -> None:
    disk = new_disk(kernel, 1 << 20)
    mount = FuseMount.mount(disk, room)
    with Path(mount.path).open("r+b", buffering=0) as file:
        transaction = kernel.transaction()
        transaction.drop(disk.version)
        transaction.commit()
        for turn in range(3):
            with pytest.raises(OSError, match="Stale") as stale:
                os.pwrite(file.fileno(), b"x", 0)
            assert stale.value.errno == errno.ESTALE
            if turn == 0:
                assert "was removed while it was open" in (mount.wait() or "")
    mount.unmount()
    # The same words again: told once.
    assert mount.wait() is None


def test_it_goes_with_the_object(kernel: Kernel, room: Path) -> None:
    mount = FuseMount.mount(new_disk(kernel, 1 << 20), room)
    assert os.path.ismount(room)
    del mount
    assert not os.path.ismount(room)


def test_what_cannot_be_mounted(kernel: Kernel, tmp_path: Path) -> None:
    disk = new_disk(kernel, 1 << 20)
    with pytest.raises(KernelError, match=r"mounting .*nowhere: No such file"):
        FuseMount.mount(disk, tmp_path / "nowhere")
    with pytest.raises(TypeError, match="only a Disk or an NbdClient"):
        FuseMount.mount("disk", tmp_path)  # type: ignore[arg-type]


@needs_blocks
def test_a_loop_device_on_it(kernel: Kernel, room: Path) -> None:
    """Sizes, discards and flushes as a loop device does them."""
    disk = new_disk(kernel, 1 << 30)
    mount = FuseMount.mount(disk, room)
    losetup, blkdiscard = tool("losetup", "mount"), tool("blkdiscard", "util-linux")
    device = run(losetup, "--find", "--show", "--direct-io=on", mount.path).strip()
    try:
        assert run(losetup, "--noheadings", "--output", "DIO", device).strip() == "1"
        with closing(os.fdopen(os.open(device, os.O_RDWR), "r+b", buffering=0)) as file:
            assert os.lseek(file.fileno(), 0, os.SEEK_END) == 1 << 30
            os.pwrite(file.fileno(), b"y" * (64 << 20), 0)
            os.fsync(file.fileno())
        assert disk.read((64 << 20) - 4, 8) == b"yyyy\0\0\0\0"
        assert kernel.version(disk.version).mapped_blocks == 64 << 8
        run(blkdiscard, "--offset", 1 << 20, "--length", 62 << 20, device)
        assert kernel.version(disk.version).mapped_blocks == 2 << 8
        run(blkdiscard, "--zeroout", "--offset", 0, "--length", 1 << 20, device)
        assert kernel.version(disk.version).mapped_blocks == 1 << 8
        with pytest.raises(KernelError, match="in use"):
            mount.unmount()
    finally:
        with suppress(AssertionError):
            run(losetup, "--detach", device)
    mount.unmount()
