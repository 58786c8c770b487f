"""A process that writes and takes snapshots until it is killed; opening.py starts it."""

from __future__ import annotations

import os
import random
import sys

import cowshed

IMAGE = "disk"
BLOCK = 4096


def main(path: str) -> None:
    dice = random.Random()
    with cowshed.open(path) as store, store.open(IMAGE) as image:
        print("ready", flush=True)
        while True:
            for _ in range(8):
                image.write(dice.randrange(image.size // BLOCK) * BLOCK, os.urandom(BLOCK))
            name = f"{IMAGE}@victim{dice.getrandbits(64)}"
            store.create_snapshot(name)
            if dice.random() < 0.9:
                store.remove_snapshot(name)


main(sys.argv[1])
