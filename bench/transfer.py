"""Raw images in and out, against `cp` between the same disks; qcow2 in, against qemu-img.

What is timed, alike for all: from a source that is warm in the page cache to the return of the sync of a
target that was not there before. `cp` is timed with the fsync of its copy, and may not share blocks with
the source; import and export sync by themselves; what qemu-img makes is synced as cp's copy is. A copy of
the source is written and removed right before each, untimed: many disks take a burst faster than they
sustain, and whatever came first would have it.

A qcow2 is compared with `qemu-img convert` of it into a raw file, which is what others do with one before
they can use it: plain, as qemu-img writes it, and compressed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import cowshed
from bench import sizes
from bench.figures import Bar, Figure, at_least, ratio
from bench.lab import DISK, PIECE, Lab, read_afresh, remove
from bench.peers import Missing
from bench.rounds import Laps, Spread, interleave
from cowshed.transfer import export_raw, import_image, import_raw

TOPIC = "transfer"
LIMIT = 0.8
QCOW2_LIMIT = 1.0
_DISTINCT = 64 << 20
_BITE = 1 << 20


def run(lab: Lab) -> list[Figure]:
    size = lab.sizes.raw
    raw = lab.path("source.raw")
    _dense(lab, raw, size)
    figures = _compare(lab, raw, f"{sizes.text(size)} of data", at_least(LIMIT))
    figures += _qcow2(lab, raw, f"{sizes.text(size)} of data", [], at_least(QCOW2_LIMIT))
    raw.unlink()
    _half_random(lab, raw, size)
    for kind in ("zlib", "zstd"):
        options = ["-c", "-o", f"compression_type={kind}"]
        figures += _qcow2(lab, raw, f"{sizes.text(size)} compressed with {kind}", options, None)
    raw.unlink()
    _sparse(lab, raw, 4 * size)
    data = sizes.text(raw.stat().st_blocks * 512)
    figures += _compare(lab, raw, f"sparse, {data} in {sizes.text(4 * size)}", None)
    raw.unlink()
    return figures


def _dense(lab: Lab, path: Path, size: int) -> None:
    """Random data, repeated from a larger piece than the other topics use."""
    piece = memoryview(lab.dice("transfer").randbytes(min(_DISTINCT, size)))
    with path.open("wb") as file:
        for at in range(0, size, len(piece)):
            file.write(piece[: min(len(piece), size - at)])
        file.flush()
        os.fsync(file.fileno())


def _half_random(lab: Lab, path: Path, size: int) -> None:
    """Data that shrinks to about half: every second 2 KiB are those before."""
    dice = lab.dice("compressed")
    piece = b"".join(dice.randbytes(2048) * 2 for _ in range(min(_DISTINCT, size) // 4096))
    with path.open("wb") as file:
        for _ in range(0, size, len(piece)):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def _sparse(lab: Lab, path: Path, size: int) -> None:
    """A megabyte of data in every sixteen."""
    with path.open("wb") as file:
        file.truncate(size)
        for at in range(0, size, 16 * _BITE):
            file.seek(at)
            file.write(lab.payload[:_BITE])
        file.flush()
        os.fsync(file.fileno())


def _compare(lab: Lab, raw: Path, what: str, bar: Bar | None) -> list[Figure]:
    lab.say(f"import, export and cp: {what}")
    with raw.open("rb") as file:
        while file.read(PIECE):
            pass
    laps = interleave(lab.sizes.transfer_rounds, _round(lab, raw))
    peers = {"import": "", "export": ""}
    try:
        peers |= _qemu(lab, raw)
    except Missing as missing:
        peers = dict.fromkeys(peers, str(missing))
    figures = []
    for name in ("import", "export"):
        note = f"{_seconds(laps, name)} against {_seconds(laps, 'cp')}"
        figures.append(
            ratio(
                TOPIC,
                f"{name} ÷ cp, rates, {what}",
                laps.ratio("cp", name),
                bar,
                note=note,
                peers={f"qemu-img convert, {'to' if name == 'import' else 'from'} qcow2": peers[name]},
            )
        )
    return figures


def _qcow2(lab: Lab, raw: Path, what: str, options: list[str], bar: Bar | None) -> list[Figure]:
    """Import of a qcow2, and its conversion to raw by qemu-img. Nothing, where there is no qemu-img."""
    lab.say(f"import of qcow2: {what}")
    disk, out, path = lab.path("disk.qcow2"), lab.path("out.raw"), lab.path("store-transfer")
    try:
        lab.peers.qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, raw, disk)
    except Missing:
        return []
    read_afresh(disk)

    def convert(laps: Laps) -> None:
        _level(lab, raw)
        with laps.time("convert"):
            lab.peers.qemu_img("convert", "-f", "qcow2", "-O", "raw", disk, out)
            _sync(out)
        out.unlink()

    def bring_in(laps: Laps) -> None:
        with cowshed.open(path, create=True) as store:
            _level(lab, raw)
            with laps.time("import"):
                import_image(store, DISK, disk, format="qcow2")
        remove(path)

    laps = interleave(lab.sizes.transfer_rounds, convert, bring_in)
    disk.unlink()
    note = f"{_seconds(laps, 'import')} against {_seconds(laps, 'convert')}"
    spread = laps.ratio("convert", "import")
    return [ratio(TOPIC, f"import of qcow2 ÷ qemu-img convert to raw, rates, {what}", spread, bar, note=note)]


def _seconds(laps: Laps, name: str) -> str:
    return f"{laps.seconds(name).median:.3g} s"


def _round(lab: Lab, raw: Path) -> Callable[[Laps], None]:
    """cp, import and export, each into what was not there before."""
    turn = 0

    def run(laps: Laps) -> None:
        nonlocal turn
        turn += 1
        ways = [_copy, _import_export]
        for way in ways if turn % 2 else reversed(ways):
            way(lab, raw, laps)

    return run


def _level(lab: Lab, raw: Path) -> None:
    """Bring the disk to where each lap finds it: behind the writing of as much as it writes itself."""
    os.sync()
    level = lab.path("level.raw")
    subprocess.run(["cp", "--reflink=never", str(raw), str(level)], check=True)
    _sync(level)
    level.unlink()
    os.sync()


def _copy(lab: Lab, raw: Path, laps: Laps) -> None:
    copy = lab.path("copy.raw")
    _level(lab, raw)
    with laps.time("cp"):
        subprocess.run(["cp", "--reflink=never", str(raw), str(copy)], check=True)
        _sync(copy)
    copy.unlink()


def _import_export(lab: Lab, raw: Path, laps: Laps) -> None:
    path, out = lab.path("store-transfer"), lab.path("out.raw")
    with cowshed.open(path, create=True) as store:
        _level(lab, raw)
        with laps.time("import"), raw.open("rb") as source:
            import_raw(store, DISK, source)
        _level(lab, raw)
        with laps.time("export"), store.open(DISK, read_only=True) as image, out.open("wb") as target:
            export_raw(image, target)
    assert subprocess.run(["cmp", "-s", raw, out], check=False).returncode == 0, (
        "the export is not the import"
    )
    out.unlink()
    remove(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _qemu(lab: Lab, raw: Path) -> dict[str, str]:
    """qemu-img convert in and out, with its own cp in the same rounds."""

    def turn(laps: Laps) -> None:
        _copy(lab, raw, laps)
        disk, out = lab.path("disk.qcow2"), lab.path("out.raw")
        _level(lab, raw)
        with laps.time("import"):
            lab.peers.qemu_img("convert", "-f", "raw", "-O", "qcow2", raw, disk)
            _sync(disk)
        _level(lab, raw)
        with laps.time("export"):
            lab.peers.qemu_img("convert", "-f", "qcow2", "-O", "raw", disk, out)
            _sync(out)
        disk.unlink()
        out.unlink()

    laps = interleave(min(3, lab.sizes.transfer_rounds), turn, warm_up=0)
    texts: dict[str, Spread] = {name: laps.ratio("cp", name) for name in ("import", "export")}
    return {name: spread.ratio_text() for name, spread in texts.items()}
