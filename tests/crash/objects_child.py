"""A process that changes objects of a store until it is killed: objects_child.py STORE POOL SEED

For each change, done or refused, it writes its number in a line.
"""

from __future__ import annotations

import os
import sys

import cowshed
from behaviour.object_model import Programme


def main() -> None:
    path, pool, seed = sys.argv[1:]
    programme = Programme(pool, seed)
    with cowshed.open(path) as store:
        os.write(1, b"0\n")
        while True:
            (_, _, name), some = programme.next()
            if programme.do(some):
                store.change_object(pool, name, some)
            os.write(1, b"%d\n" % programme.done)


if __name__ == "__main__":
    main()
