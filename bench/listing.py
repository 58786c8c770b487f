"""Listing very many things, and the space account of a family of snapshots."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import cowshed
from bench import sizes
from bench.figures import Figure, at_least, at_most, milliseconds, ratio
from bench.lab import BLOCK, DISK, Lab
from bench.rounds import Laps, interleave
from cowshed.cli.verbs.space import family_lines
from cowshed.store import ImageSpec, Store

TOPIC = "listing"
LIMIT = 1000.0
COPY_LIMIT = 0.8
_SPEC = ImageSpec("rbd", "", DISK)


def run(lab: Lab) -> list[Figure]:
    return [*_listing(lab), *_usage(lab), *_copies(lab)]


def _listing(lab: Lab) -> list[Figure]:
    images, snapshots = lab.sizes.listed_images, lab.sizes.listed_snapshots
    lab.say(f"making {images:,} images and {snapshots:,} snapshots")
    path = lab.path("store-listing")
    with cowshed.open(path, create=True) as store:
        store.create(DISK, sizes.GIB)
        for i in range(snapshots):
            store.create_snapshot(f"{DISK}@before{i}")
        store.create_pool("many")
        for i in range(images):
            store.create(f"many/image{i:06}", sizes.GIB)

        def turn(laps: Laps) -> None:
            with laps.time("images"):
                assert len(list(store.images("many"))) == images
            with laps.time("snapshots"):
                assert len(store.snapshots(DISK)) == snapshots

        laps = interleave(lab.sizes.diff_rounds, turn)
    return [
        milliseconds(TOPIC, f"{images:,} images", laps.seconds("images"), LIMIT),
        milliseconds(TOPIC, f"{snapshots:,} snapshots of one image", laps.seconds("snapshots"), LIMIT),
    ]


def _usage(lab: Lab) -> list[Figure]:
    """The same changes in a small image and in one of many more blocks: only what differs may count."""
    count = lab.sizes.family
    lab.say(f"du of {count:,} snapshots")
    stores = {}
    for name, mapped in (("small", 0), ("large", lab.sizes.family_blocks)):
        path = lab.path(f"store-du-{name}")
        with cowshed.open(path, create=True) as store:
            _family(lab, store, mapped)
        stores[name] = path
    with cowshed.open(stores["small"]) as small, cowshed.open(stores["large"]) as large:

        def turn(laps: Laps) -> None:
            for name, store in (("small", small), ("large", large)):
                with laps.time(name):
                    assert len(list(family_lines(store, _SPEC))) == count + 1

        laps = interleave(lab.sizes.slow_rounds, turn)
    blocks = f"{lab.sizes.family_blocks:,}"
    return [
        milliseconds(TOPIC, f"du of {count:,} snapshots, 8 blocks between each", laps.seconds("small"), None),
        ratio(
            TOPIC,
            f"the same with {blocks} more blocks that do not differ ÷ without",
            laps.ratio("large", "small"),
            at_most(2.0),
        ),
    ]


def _family(lab: Lab, store: Store, mapped: int) -> None:
    dice = lab.dice("family")
    store.create(DISK, 64 * sizes.GIB)
    with store.open(DISK) as image:
        step = 1 << 20
        for at in range(0, mapped * BLOCK, step):
            image.write(32 * sizes.GIB + at, lab.payload[:step])
        for i in range(lab.sizes.family):
            for _ in range(8):
                image.write(dice.randrange(32 * sizes.GIB // BLOCK) * BLOCK, lab.block(i))
            store.create_snapshot(f"{DISK}@before{i}")


def _copies(lab: Lab) -> list[Figure]:
    """Copies share what is equal; `cp` of the same bytes with its fsync has to write them."""
    size = sizes.text(lab.sizes.raw)
    lab.say(f"copies of {size}")
    path, raw = lab.path("store-copies"), lab.path("copy-source")
    lab.fill_file(raw, lab.sizes.raw)
    with cowshed.open(path, create=True) as store:
        store.create(DISK, lab.sizes.raw)
        lab.fill(store, DISK)
        for name in ("a", "b"):
            store.create_snapshot(f"{DISK}@{name}")

        def turn(laps: Laps) -> None:
            target = lab.path("copy-target")
            with laps.time("cp"):
                subprocess.run(["cp", "--reflink=never", str(raw), str(target)], check=True)
                _sync(target)
            target.unlink()
            for name, copy in (("copy", store.copy), ("deep copy", store.deep_copy)):
                with laps.time(name):
                    copy(DISK, "copied")
                store.purge_snapshots("copied")
                store.remove("copied")

        laps = interleave(lab.sizes.slow_rounds, turn)
    return [
        ratio(TOPIC, f"{name} of {size} ÷ cp, rates", laps.ratio("cp", name), at_least(COPY_LIMIT))
        for name in ("copy", "deep copy")
    ]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
