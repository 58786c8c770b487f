"""The story: what Glance, Nova, Cinder and its backups do with snapshots, step by step and checked."""

from __future__ import annotations

import mmap
import random
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cowshed
from cowshed.demo.churn import Churn
from cowshed.demo.disk import BLOCK, Disk, given_disk, made_disk
from cowshed.demo.record import Record, digest
from cowshed.demo.stage import Stage, size_text
from cowshed.errors import NoSpace
from cowshed.store import Store
from cowshed.transfer import export_diff, export_raw, import_diff, import_raw

INSTANCES = 100
WRITING = 10
WRITES = 200
GOLDEN = "images/debian@golden"
KEPT = "images/vm007-snapshot"


def tell(*, image: str | None, snapshots: int, seed: int | None, keep: bool) -> int:
    """Tell the whole story; returns the exit status, 0 when every check held."""
    stage = Stage()
    seed = secrets.randbelow(1 << 32) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="cowshed-demo-"))
    try:
        stage.say(f"cowshed demo, in {folder}, with seed {seed}\n")
        target = folder / "store"
        cowshed.init(target)
        with cowshed.open(target, owner="cowshed demo") as store:
            _need_room(folder)
            Story(stage, store, folder, random.Random(seed), seed, image).tell(snapshots)
        failed = len(stage.failures)
        if failed:
            stage.say(f"{failed} of {stage.checks} checks FAILED:")
            for failure in stage.failures:
                stage.say(f"   {failure}")
        else:
            stage.say(f"All {stage.checks} checks held.")
        if keep:
            stage.say(f"The store stays: cowshed --store {target} tree")
        return 1 if failed else 0
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _need_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < 1 << 30:
        raise NoSpace(
            f"{folder} has {size_text(free)} free, and the demo may take a GiB",
            hint="set TMPDIR to a folder with more room",
        )


class Story:
    """The steps up to the backups, and the last one from `churn`. `_truth` has what each disk should hold."""

    def __init__(
        self, stage: Stage, store: Store, folder: Path, dice: random.Random, seed: int, image: str | None
    ) -> None:
        self._stage = stage
        self._store = store
        self._folder = folder
        self._dice = dice
        self._seed = seed
        self._image = image
        self._truth: dict[str, Record] = {}

    def tell(self, snapshots: int) -> None:
        """All steps, in order."""
        disk, base = self._find_disk()
        self._disk = disk
        self._import(base)
        self._boot()
        self._write()
        self._keep_an_instance()
        self._remove_the_image()
        self._volume()
        self._back_up()
        churn = Churn(self._stage, self._store, self._dice, f"{KEPT}@volume", self._truth[KEPT])
        table = churn.run(snapshots)
        self._verify()
        self._stage.table("What thousands of snapshots leave behind", table)

    def _find_disk(self) -> tuple[Disk, memoryview]:
        with self._stage.step("A disk image"):
            if self._image is not None:
                disk = given_disk(Path(self._image))
            else:
                with self._stage.doing("made a file system and put files in it"):
                    disk = made_disk(self._folder, self._seed)
            self._stage.tell("disk", f"{disk.path}: {size_text(disk.size)}, {disk.kind}")
        with disk.path.open("rb") as file:
            return disk, memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def _import(self, base: memoryview) -> None:
        with self._stage.step("Upload it once and freeze it (Glance)", self._store):
            self._store.create_pool("images")
            with (
                self._stage.doing(f"imported {size_text(self._disk.size)}"),
                self._disk.path.open("rb") as file,
            ):
                import_raw(self._store, "images/debian", file, progress=self._stage.progress("imported"))
            with self._stage.doing("took a snapshot and protected it"):
                self._store.create_snapshot(GOLDEN)
                self._store.protect_snapshot(GOLDEN)
            self._truth[GOLDEN] = Record.of(base, self._dice)
            self._truth["images/debian"] = self._truth[GOLDEN].copy()
            if not self._truth[GOLDEN].whole:
                self._stage.tell(
                    "note", "the image is large: a sample of it is compared, and all that is written"
                )
            self._same(GOLDEN, "the snapshot is the file")

    def _boot(self) -> None:
        with self._stage.step(f"Boot {INSTANCES} instances from the one snapshot (Nova)", self._store):
            self._store.create_pool("vms")
            names = [f"vms/vm{i:03}" for i in range(INSTANCES)]
            with self._stage.doing(f"{INSTANCES} clones", INSTANCES):
                for name in names:
                    self._store.clone(GOLDEN, name)
            for name in names:
                self._truth[name] = self._truth[GOLDEN].copy()
            self._same_all(self._dice.sample(names, 3), "three of them, picked at random, are the image")
            alone = sum(self._store.usage(name).exclusive for name in names)
            self._stage.check(f"together they hold {size_text(alone)} of their own", alone == 0)

    def _write(self) -> None:
        with self._stage.step(f"Let {WRITING} of them work, with {WRITES} writes of 4 KiB each", self._store):
            writers = [f"vms/vm{i:03}" for i in range(WRITING)]
            with self._stage.doing(f"{WRITING * WRITES} writes and flushes", WRITING * WRITES):
                for name in writers:
                    self._scribble(name, WRITES)
            self._same_all(writers, f"the {WRITING} hold what they wrote")
            self._same_all(
                ["vms/vm042", GOLDEN], "an instance that rested, and the snapshot, are as they were"
            )
            self._sound("vms/vm003", "the file system in one that wrote")

    def _keep_an_instance(self) -> None:
        with self._stage.step(
            "Make an image of an instance, delete the instance (Nova snapshot)", self._store
        ):
            with self._stage.doing("snapshot, clone, flatten: an independent image"):
                self._store.create_snapshot("vms/vm007@snap")
                self._store.clone("vms/vm007@snap", KEPT)
                self._store.flatten(KEPT)
            self._truth[KEPT] = self._truth["vms/vm007"].copy()
            with self._stage.doing("removed the snapshot and the instance"):
                self._store.remove_snapshot("vms/vm007@snap")
                self._store.remove("vms/vm007")
            del self._truth["vms/vm007"]
            self._stage.check("the image has no parent", self._store.stat(KEPT).parent is None)
            self._same(KEPT, "it holds what the instance held")
            usage = self._store.usage(KEPT)
            self._stage.check(
                f"of its {size_text(usage.referenced)} it holds {size_text(usage.exclusive)} alone:"
                " the rest is still shared",
                usage.exclusive <= WRITES * BLOCK,
            )
            self._sound(KEPT, "the file system in it")

    def _remove_the_image(self) -> None:
        left = INSTANCES - 1
        with self._stage.step(f"Remove the image that {left} instances were cloned from", self._store):
            with self._stage.doing("unprotected and removed the snapshot, removed the image"):
                self._store.unprotect_snapshot(GOLDEN)
                self._store.remove_snapshot(GOLDEN)
                self._store.remove("images/debian")
            self._truth.pop("images/debian")
            self._same_all(
                ["vms/vm000", "vms/vm042", KEPT], "instances live on: one that wrote, one that rested"
            )

    def _volume(self) -> None:
        volume = "volumes/data"
        with self._stage.step("A volume with snapshots, and a rollback (Cinder)", self._store):
            self._store.create_pool("volumes")
            self._store.create_snapshot(f"{KEPT}@volume")
            self._store.clone(f"{KEPT}@volume", volume)
            self._truth[volume] = self._truth[KEPT].copy()
            with self._stage.doing("five snapshots with writes between them"):
                for day in range(1, 6):
                    self._scribble(volume, 50)
                    self._snapshot(volume, f"day{day}")
                self._scribble(volume, 50)
            with self._stage.doing("rolled back to the second"):
                self._store.rollback(f"{volume}@day2")
            self._truth[volume] = self._truth[f"{volume}@day2"].copy()
            self._same(volume, "the volume is what it was on day 2")
            snapshots = [f"{volume}@day{day}" for day in range(1, 6)]
            self._same_all(snapshots, "all five snapshots are still there, the newer ones too")

    def _back_up(self) -> None:
        volume, restored = "volumes/data", "volumes/restored"
        full, changes = self._folder / "full.raw", self._folder / "changes.diff"
        with self._stage.step(
            "A full backup, a differential one, and a restore (Cinder backup)", self._store
        ):
            self._snapshot(volume, "backup1")
            with (
                self._stage.doing("full backup"),
                self._store.open(f"{volume}@backup1") as frozen,
                full.open("wb") as out,
            ):
                export_raw(frozen, out)
            self._scribble(volume, 100)
            self._snapshot(volume, "backup2")
            with (
                self._stage.doing("differential backup"),
                self._store.open(f"{volume}@backup2") as frozen,
                changes.open("wb") as out,
            ):
                export_diff(frozen, "backup1", out)
            sizes = full.stat().st_size, changes.stat().st_size
            self._stage.tell("files", f"full {size_text(sizes[0])}, differential {size_text(sizes[1])}")
            with self._stage.doing("restored both into a new volume"):
                with full.open("rb") as file:
                    import_raw(self._store, restored, file)
                self._store.create_snapshot(f"{restored}@backup1")
                with changes.open("rb") as file:
                    import_diff(self._store, restored, file)
            self._truth[restored] = self._truth[f"{volume}@backup2"].copy()
            self._truth[f"{restored}@backup2"] = self._truth[restored].copy()
            self._same_all(
                [restored, f"{restored}@backup2"], "the restored volume is the one that was backed up"
            )
            self._sound(restored, "the file system in it")

    def _verify(self) -> None:
        with self._stage.step("Verify everything once more"):
            with self._stage.doing("checked the store's structure, block by block"):
                found = self._store.check()
            self._stage.check(found[0] if found else "the store is sound", not found)
            self._same_all([KEPT, "vms/vm000", "volumes/data"], "what the story began with is as it was left")

    def _snapshot(self, volume: str, name: str) -> None:
        self._store.create_snapshot(f"{volume}@{name}")
        self._truth[f"{volume}@{name}"] = self._truth[volume].copy()

    def _scribble(self, name: str, count: int) -> None:
        """Write blocks picked at random where files lie, as a guest would that works on its files."""
        with self._store.open(name) as disk:
            for block in self._dice.choices(self._disk.file_blocks, k=count):
                content = self._dice.randbytes(BLOCK)
                disk.write(block * BLOCK, content)
                self._truth[name].write(block, content)

    def _same(self, name: str, what: str) -> None:
        expected = self._truth[name].digest()
        found = self._digest(name)
        text = (
            f"sha256 {found[:12]}…"
            if found == expected
            else f"sha256 {found[:12]}… should be {expected[:12]}…"
        )
        self._stage.check(f"{what} ({text})", found == expected)

    def _same_all(self, names: list[str], what: str) -> None:
        wrong = [name for name in names if self._digest(name) != self._truth[name].digest()]
        self._stage.check(
            f"{what} (sha256 of {len(names)})" + "".join(f", not {n}" for n in wrong), not wrong
        )

    def _digest(self, name: str) -> str:
        with self._store.open(name, read_only=True) as disk:
            return digest(disk.read, self._truth[name].ranges())

    def _sound(self, name: str, what: str) -> None:
        """Have the file system's own tool look at an export, where there is one."""
        if self._disk.fsck is None:
            return
        with self._exported(name) as path:
            ended = subprocess.run([*self._disk.fsck, str(path)], capture_output=True, check=False)
        self._stage.check(f"{what} is sound ({Path(self._disk.fsck[0]).name})", ended.returncode == 0)

    @contextmanager
    def _exported(self, name: str) -> Iterator[Path]:
        path = self._folder / "exported.raw"
        try:
            with self._store.open(name, read_only=True) as disk, path.open("wb") as out:
                export_raw(disk, out)
            yield path
        finally:
            path.unlink()
