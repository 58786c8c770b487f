"""Objects as plain dicts: what a list of steps does, written down once more and as simply as can be."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field

from cowshed.errors import AlreadyExists, CowshedError, Mismatch, NotFound
from cowshed.store import ObjectStep, steps


@dataclass
class Model:
    data: bytes = b""
    attributes: dict[str, bytes] = field(default_factory=dict)
    omap: dict[str, bytes] = field(default_factory=dict)
    header: bytes = b""


Place = tuple[str, str, str]
"""Pool, namespace, name."""


class Objects:
    """All objects of a store."""

    def __init__(self) -> None:
        self.all: dict[Place, Model] = {}

    def change(self, place: Place, steps: list[ObjectStep]) -> None:
        """Raises what the store should, and then changes nothing."""
        now = copy.deepcopy(self.all.get(place))
        for step in steps:
            now = after(now, step)
        if now is None:
            self.all.pop(place, None)
        else:
            self.all[place] = now

    def names(self, pool: str, namespace: str) -> list[str]:
        found = [name for p, n, name in self.all if (p, n) == (pool, namespace)]
        return sorted(found, key=str.encode)


def after(now: Model | None, step: ObjectStep) -> Model | None:
    """An object after one step."""
    data = step.data or b""
    if step.do in MAKING:
        now = now or Model()
    elif step.do == "create-exclusively":
        if now is not None:
            raise AlreadyExists("")
        return Model()
    elif step.do == "assert-missing":
        if now is not None:
            raise AlreadyExists("")
        return None
    elif step.do in ("truncate", "zero"):
        if now is None:
            return None
    elif step.do == "compare":
        there = (now.data if now else b"")[step.offset : step.offset + len(data)]
        require(there + bytes(len(data) - len(there)) == data)
        return now
    elif now is None:
        raise NotFound("")
    match step.do:
        case "remove":
            return None
        case "write":
            now.data = spliced(now.data, step.offset, data)
        case "write-full":
            now.data = data
        case "append":
            now.data += data
        case "truncate":
            now.data = now.data[: step.length].ljust(step.length, b"\0")
        case "zero" if step.length and step.offset < len(now.data):
            behind = now.data[step.offset + step.length :]
            zeros = bytes(step.length) if behind else b""
            now.data = now.data[: step.offset] + zeros + behind
        case "set-attribute":
            now.attributes[step.name] = data
        case "remove-attribute":
            now.attributes.pop(step.name, None)
        case "set-omap":
            now.omap |= step.values
        case "remove-omap":
            now.omap = {key: value for key, value in now.omap.items() if key not in step.names}
        case "remove-omap-range":
            first, end = step.name.encode(), step.end.encode()
            now.omap = {key: value for key, value in now.omap.items() if not first <= key.encode() < end}
        case "clear-omap":
            now.omap, now.header = {}, b""
        case "set-omap-header":
            now.header = data
        case "compare-attribute":
            require(now.attributes.get(step.name) == step.data)
        case "compare-omap":
            require(now.omap.get(step.name) == step.data)
    return now


MAKING = {"create", "write", "write-full", "append", "set-attribute", "set-omap", "set-omap-header"}


def require(held: bool) -> None:
    if not held:
        raise Mismatch("")


def spliced(old: bytes, offset: int, data: bytes) -> bytes:
    return old.ljust(offset, b"\0")[:offset] + data + old[offset + len(data) :]


# --- random changes

KEYS = ["", "a", "b", "b/c", "b\0", "ba", "c", "ö", "\U0001f404", "zz", "zzz"]
PIECE = 64 << 10
EDGES = [0, 1, 10, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE - 5, 4 * PIECE]
"""Where the store's pieces begin and end."""


class Changes:
    """Lists of steps, drawn at random."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def some(self, now: Model | None) -> list[ObjectStep]:
        count = self.rng.choice([1, 1, 2, 3, 5, 12])
        made: list[ObjectStep] = []
        for _ in range(count):
            made.append(self.step(now))
            try:
                now = after(copy.deepcopy(now), made[-1])
            except CowshedError:
                break  # so that most lists go through, and those that do not fail at their end
        return made

    def step(self, now: Model | None) -> ObjectStep:
        rng = self.rng
        known = now or Model()
        at, length = rng.choice(EDGES), rng.choice(EDGES)
        if rng.random() < 0.3:
            at = rng.randrange(len(known.data) + 20)
        key, name = rng.choice(KEYS), rng.choice(["a", "b", "lock.ö", "x" * 255])
        kinds = [
            (1, lambda: steps.create(exclusively=rng.random() < 0.2)),
            (4, lambda: steps.write(at, self.data())),
            (1, lambda: steps.write_full(self.data())),
            (2, lambda: steps.append(self.data())),
            (2, lambda: steps.truncate(at)),
            (2, lambda: steps.zero(at, length)),
            (1, steps.remove),
            (2, lambda: steps.set_attribute(name, rng.randbytes(5))),
            (1, lambda: steps.remove_attribute(name)),
            (3, lambda: steps.set_omap({each: rng.randbytes(3) for each in rng.sample(KEYS, 4)})),
            (1, lambda: steps.remove_omap(rng.sample(KEYS, 2))),
            (1, lambda: steps.remove_omap_range(key, rng.choice(KEYS))),
            (1, steps.clear_omap),
            (1, lambda: steps.set_omap_header(rng.choice([b"", b"head", rng.randbytes(9)]))),
            (1, steps.assert_exists),
            (0.3, steps.assert_missing),
            (1, lambda: steps.compare(at, self.there(known, at, length))),
            (1, lambda: steps.compare_attribute(name, self.right(known.attributes.get(name)))),
            (1, lambda: steps.compare_omap(key, self.right(known.omap.get(key)))),
        ]
        weights, makers = zip(*kinds, strict=True)
        made: ObjectStep = rng.choices(makers, weights)[0]()
        return made

    def data(self) -> bytes:
        rng = self.rng
        length = rng.choice([0, 1, 100, *EDGES])
        return bytes(length) if rng.random() < 0.3 else rng.randbytes(length)

    def there(self, known: Model, at: int, length: int) -> bytes:
        found = known.data[at : at + length]
        return found if self.rng.random() < 0.8 else found + b"x"

    def right(self, value: bytes | None) -> bytes | None:
        return value if self.rng.random() < 0.8 else b"another"


class Programme:
    """Changes of some objects of one pool, the same for the same seed, and what they do."""

    def __init__(self, pool: str, seed: str) -> None:
        self.objects = Objects()
        self.done = 0
        self._rng = random.Random(seed)
        self._changes = Changes(self._rng)
        self._places = [(pool, "", name) for name in ("a", "b", "c")]
        self._next: tuple[Place, list[ObjectStep]] | None = None

    def next(self) -> tuple[Place, list[ObjectStep]]:
        """The next change: the same until it is done."""
        if self._next is None:
            place = self._rng.choice(self._places)
            self._next = place, self._changes.some(self.objects.all.get(place))
        return self._next

    def do(self, some: list[ObjectStep]) -> bool:
        """Do it to the model; whether it is not refused."""
        place, steps = self.next()
        assert steps is some
        self._next = None
        self.done += 1
        try:
            self.objects.change(place, some)
        except CowshedError:
            return False
        return True
