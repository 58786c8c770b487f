"""Random operations on small objects, the same for a real cluster's `rados` and for the look-alike.

What the real one answered is kept in `object_answers.json`. Run as a program, this records it anew:

    python3 tests/compat/object_programme.py CEPH_CONF POOL >tests/compat/object_answers.json

Not among them are `zero` of no length, which kills Ceph 16's OSD, and writing nothing behind the end, after
which it never reads the object again. That the numbers of `zero` are the other way round in 16's module is
made up for.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

SEEDS = range(24)
STEPS = 40
NAMES = ("one", "two")
KEYS = ("a", "b", "c\u00e9")

Operation = tuple[str, str, list[Any]]
"""What is done, to which object, with what."""


def programme(seed: int) -> list[Operation]:
    """What is done, one after the other."""
    luck = random.Random(seed)
    return [_operation(luck) for _ in range(STEPS)]


def _operation(luck: random.Random) -> Operation:
    name = luck.choice(NAMES)
    what = luck.choice([*_SINGLE, *["write_op"] * 14])
    if what != "write_op":
        return what, name, _SINGLE[what](luck)
    steps = []
    for _ in range(luck.choice((1, 1, 2, 3))):
        step = luck.choice(list(_STEPS))
        steps.append([step, *_STEPS[step](luck)])
    # In a cluster comparisons look at what there was before the operation.
    steps.sort(key=lambda step: step[0] not in ("cmpext", "omap_cmp"))
    return what, name, [steps]


def _bytes(luck: random.Random) -> str:
    return "".join(luck.choice("xyz\0") for _ in range(luck.choice((0, 1, 3, 8, 20))))


def _some(luck: random.Random) -> str:
    return _bytes(luck) or "w"


def _place(luck: random.Random) -> int:
    return luck.choice((0, 0, 1, 5, 20, 31))


_SINGLE: dict[str, Callable[[random.Random], list[Any]]] = {
    "write": lambda luck: [_some(luck), _place(luck)],
    "write_full": lambda luck: [_bytes(luck)],
    "append": lambda luck: [_some(luck)],
    "trunc": lambda luck: [_place(luck)],
    "remove_object": lambda luck: [],
    "set_xattr": lambda luck: [luck.choice(KEYS), _bytes(luck)],
    "get_xattr": lambda luck: [luck.choice(KEYS)],
    "rm_xattr": lambda luck: [luck.choice(KEYS)],
    "cmpext": lambda luck: [_some(luck), _place(luck)],
    "read": lambda luck: [luck.choice((1, 7, 8192)), _place(luck)],
    "writesame": lambda luck: [luck.choice(("x", "xy")), luck.choice((2, 8)), _place(luck)],
}
_STEPS: dict[str, Callable[[random.Random], list[Any]]] = {
    "new": lambda luck: [luck.choice((0, 1))],
    "remove": lambda luck: [],
    "write": lambda luck: [_some(luck), _place(luck)],
    "write_full": lambda luck: [_bytes(luck)],
    "append": lambda luck: [_some(luck)],
    "truncate": lambda luck: [_place(luck)],
    "zero": lambda luck: [_place(luck), luck.choice((1, 4, 50))],
    "set_xattr": lambda luck: [luck.choice(KEYS), _bytes(luck)],
    "rm_xattr": lambda luck: [luck.choice(KEYS)],
    "cmpext": lambda luck: [_some(luck), _place(luck)],
    "omap_cmp": lambda luck: [luck.choice(KEYS), luck.choice("xyz")],
    "set_omap": lambda luck: [{key: luck.choice("xyz") for key in luck.sample(KEYS, luck.randint(1, 3))}],
    "remove_omap_keys": lambda luck: [luck.sample(KEYS, luck.randint(1, 2))],
    "clear_omap": lambda luck: [],
    "writesame": lambda luck: ["xy", 6, _place(luck)],
}


def answers(rados: Any, ioctx: Any, seed: int, *, swapped: bool) -> list[str]:
    """What the operations answer, each with what the object is then. `swapped`: `zero` takes numbers so."""
    for name in NAMES:
        with suppress(rados.ObjectNotFound):
            ioctx.remove_object(name)
    said = []
    for what, name, given in programme(seed):
        try:
            if what == "write_op":
                answer = _operate(rados, ioctx, name, given[0], swapped)
            else:
                answer = getattr(ioctx, what)(name, *map(_raw(what), given))
        except rados.Error as error:
            answer = _refusal(error)
        except AssertionError:
            # So 16's module tells that the very first byte is another one, or that there is no object.
            answer = "AssertionError"
        said.append(f"{answer!r} {_state(rados, ioctx, name)}")
    return said


def _raw(what: str) -> Callable[[Any], Any]:
    """Data goes as bytes, names as text."""
    return lambda each: each.encode() if isinstance(each, str) and each not in KEYS else each


def _operate(rados: Any, ioctx: Any, name: str, steps: list[list[Any]], swapped: bool) -> Any:
    with rados.WriteOpCtx() as operation:
        for step, *given in steps:
            if step == "set_omap":
                ioctx.set_omap(operation, tuple(given[0]), tuple(v.encode() for v in given[0].values()))
            elif step == "remove_omap_keys":
                ioctx.remove_omap_keys(operation, tuple(given[0]))
            elif step == "clear_omap":
                ioctx.clear_omap(operation)
            elif step == "omap_cmp":
                operation.omap_cmp(*given)
            elif step == "zero":
                operation.zero(*(reversed(given) if swapped else given))
            else:
                getattr(operation, step)(*map(_raw(step), given))
        return ioctx.operate_write_op(operation, name)


def _refusal(error: Any) -> str:
    offset = getattr(error, "offset", None)
    return (
        f"{type(error).__name__} {getattr(error, 'errno', None)}{'' if offset is None else f' at {offset}'}"
    )


def _state(rados: Any, ioctx: Any, name: str) -> str:
    """The object's content, attributes and omap."""
    try:
        size = ioctx.stat(name)[0]
    except rados.ObjectNotFound:
        return "-"
    with rados.ReadOpCtx() as operation:
        omap, _ = ioctx.get_omap_vals(operation, "", "", 100)
        ioctx.operate_read_op(operation, name)
        # What is empty is None to the real module.
        found = {key: value or b"" for key, value in omap}
    return f"{size} {ioctx.read(name)!r} {dict(sorted(ioctx.get_xattrs(name)))} {found}"


def _record(conf: str, pool: str) -> None:
    import rados

    with rados.Rados(conffile=conf) as cluster, cluster.open_ioctx(pool) as ioctx:
        ioctx.set_namespace("programme")
        said = {str(seed): answers(rados, ioctx, seed, swapped=True) for seed in SEEDS}
    json.dump(said, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    _record(*sys.argv[1:])
