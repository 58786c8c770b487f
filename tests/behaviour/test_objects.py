"""Small objects: what is kept, what a list of steps does, what is refused."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable

import pytest

from behaviour.engines import Engine
from behaviour.object_model import Changes, Model, Objects, Place
from cowshed.errors import AlreadyExists, CowshedError, InvalidArgument, Mismatch, NotFound, TooLarge
from cowshed.store import ObjectStep, Store, objects, steps

POOL = "rbd"
PIECE = 64 << 10


def change(store: Store, name: str, *those: ObjectStep) -> None:
    store.change_object(POOL, name, those)


def found(store: Store, place: Place) -> Model:
    """All that there is of an object."""
    pool, namespace, name = place
    page = store.object_omap(pool, name, namespace=namespace)
    assert not page.more
    assert list(page.values) == sorted(page.values, key=str.encode)
    data = store.read_object(pool, name, namespace=namespace)
    assert store.stat_object(pool, name, namespace=namespace).size == len(data)
    attributes = store.object_attributes(pool, name, namespace=namespace)
    header = store.object_omap_header(pool, name, namespace=namespace)
    return Model(data, attributes, page.values, header)


@pytest.mark.parametrize("round_", range(3))
def test_random_changes(engine: Engine, round_: int) -> None:
    """Against the model; the store is opened anew now and then."""
    seed = f"{os.environ.get('COWSHED_SEED', '20261123')} {round_}"
    print("seed", seed)
    rng, model = random.Random(seed), Objects()
    names = ["a", "a/b", "ö\n", "-"]
    places = [(pool, namespace, name) for pool in (POOL, "p") for namespace in ("", "n") for name in names]
    changes, refused = Changes(rng), 0
    with engine.open() as store:
        store.create_pool("p")
    for _ in range(4):
        with engine.open() as store:
            for _ in range(60):
                place = rng.choice(places[: rng.choice([1, 3, len(places)])])
                some = changes.some(model.all.get(place))
                refused += both(store, model, place, some)
                assert_same(store, model, place)
            for pool, namespace in {place[:2] for place in places}:
                assert store.objects(pool, namespace) == model.names(pool, namespace)
            for place in model.all:
                assert_same(store, model, place)
            assert store.check() == []
    assert 5 < refused < 200, "most changes are to go through, and some are not"


def both(store: Store, model: Objects, place: Place, some: list[ObjectStep]) -> bool:
    """A change of the store and of the model; whether it was refused."""
    pool, namespace, name = place
    expected: type[CowshedError] | None = None
    try:
        model.change(place, some)
    except CowshedError as error:
        expected = type(error)
    if expected is not None:
        with pytest.raises(expected):
            store.change_object(pool, name, some, namespace=namespace)
        return True
    stat = store.change_object(pool, name, some, namespace=namespace)
    assert (stat is not None) == (place in model.all)
    if stat is not None:
        assert stat == store.stat_object(pool, name, namespace=namespace)
    return False


def assert_same(store: Store, model: Objects, place: Place) -> None:
    expected = model.all.get(place)
    if expected is None:
        with pytest.raises(NotFound):
            store.stat_object(place[0], place[2], namespace=place[1])
        return
    assert found(store, place) == expected


def test_reading_ranges(store: Store) -> None:
    data = random.Random(1).randbytes(3 * PIECE + 100)
    change(store, "o", steps.write(0, data))
    for offset in (0, 1, PIECE - 1, PIECE, 2 * PIECE + 1, len(data) - 1, len(data), len(data) + 1, 1 << 40):
        for length in (0, 1, PIECE, PIECE + 1, len(data), 1 << 40, None):
            expected = data[offset:] if length is None else data[offset : offset + length]
            assert store.read_object(POOL, "o", offset=offset, length=length) == expected
    with pytest.raises(InvalidArgument):
        store.read_object(POOL, "o", offset=-1)
    with pytest.raises(InvalidArgument):
        store.read_object(POOL, "o", length=-1)


def test_a_zeroed_end_is_cut_off(store: Store) -> None:
    change(store, "o", steps.write(0, b"x" * 100))
    change(store, "o", steps.zero(10, 5), steps.zero(100, 50), steps.zero(200, 1))
    assert store.read_object(POOL, "o") == b"x" * 10 + bytes(5) + b"x" * 85
    change(store, "o", steps.zero(50, 50))
    assert store.stat_object(POOL, "o").size == 50


def test_versions_and_times(store: Store) -> None:
    assert store.change_object(POOL, "o", [steps.truncate(5), steps.zero(0, 5)]) is None
    first = store.change_object(POOL, "o", [steps.create()])
    assert first is not None
    assert (first.size, first.version) == (0, 1)
    second = store.change_object(POOL, "o", [steps.assert_version(1), steps.append(b"x"), steps.append(b"y")])
    assert second is not None
    assert (second.size, second.version) == (2, 2)
    assert second.modified >= first.modified > 1.7e9
    for ask in (steps.assert_exists(), steps.compare(0, b"xy\0\0"), steps.assert_version(2), steps.create()):
        assert store.change_object(POOL, "o", [ask]) == second
    with pytest.raises(Mismatch):
        change(store, "o", steps.append(b"z"), steps.assert_version(1))
    assert store.stat_object(POOL, "o") == second
    anew = store.change_object(POOL, "o", [steps.remove(), steps.create()])
    assert anew is not None
    assert anew.version > 2


def test_listing_goes_on_behind_a_name(store: Store) -> None:
    names = sorted([f"o{number}" for number in range(25)] + ["a/b", "a", "ü", "\U0001f404"], key=str.encode)
    for name in names:
        change(store, name, steps.create())
    got: list[str] = []
    while page := store.objects(POOL, after=got[-1] if got else "", limit=7):
        assert len(page) <= 7
        got += page
    assert got == names
    assert store.objects(POOL, after="o24")[0] == "o3"
    for limit in (0, -1, objects.MAX_PAGE + 1):
        with pytest.raises(InvalidArgument):
            store.objects(POOL, limit=limit)


def test_omap_in_pages(store: Store) -> None:
    values = {f"{prefix}{number:03}": bytes([number]) for prefix in "abc" for number in range(50)}
    change(store, "o", steps.set_omap(values))
    page = store.object_omap(POOL, "o", prefix="b", limit=50)
    assert (list(page.values), page.more) == ([f"b{number:03}" for number in range(50)], False)
    page = store.object_omap(POOL, "o", prefix="b", after="b010", limit=20)
    assert (list(page.values), page.more) == ([f"b{number:03}" for number in range(11, 31)], True)
    assert store.object_omap(POOL, "o", prefix="b", after="c").values == {}
    assert list(store.object_omap(POOL, "o", prefix="b", after="a", limit=1).values) == ["b000"]
    assert store.object_omap_values(POOL, "o", ["c049", "a000", "a000", "none"]) == {
        "c049": b"\x31",
        "a000": b"\0",
    }


def test_a_page_has_bounds(store: Store) -> None:
    """Of what it holds in bytes, too."""
    for number in range(20):
        change(store, "o", steps.set_omap({f"{number:02}": bytes([number]) * objects.MAX_OMAP_VALUE_BYTES}))
    page = store.object_omap(POOL, "o")
    assert page.more
    assert 15 <= len(page.values) <= 17
    rest = store.object_omap(POOL, "o", after=list(page.values)[-1])
    assert (len(page.values) + len(rest.values), rest.more) == (20, False)
    change(store, "o", steps.remove())


def test_namespaces_of_objects(store: Store) -> None:
    """They need not be created, and the objects of one that is removed stay."""
    assert store.object_namespaces(POOL) == []
    store.create_namespace(POOL, "known")
    for namespace in ("known", "-", "free", ""):
        store.change_object(POOL, "o", [steps.append(namespace.encode())], namespace=namespace)
        store.change_object(POOL, "p/o", [steps.create()], namespace=namespace)
    assert store.object_namespaces(POOL) == ["", "-", "free", "known"]
    store.remove_namespace(POOL, "known")
    assert store.read_object(POOL, "o", namespace="known") == b"known"
    assert store.namespaces(POOL) == []


def test_objects_go_with_their_pool(store: Store) -> None:
    store.create_pool("p")
    for namespace in ("", "n"):
        store.change_object("p", "o", [steps.append(b"x" * PIECE * 2), steps.set_omap({"k": b"v"})])
        store.change_object("p", "o", [steps.set_attribute("a", b"v")], namespace=namespace)
    change(store, "o", steps.append(b"mine"))
    store.remove_pool("p")
    with pytest.raises(NotFound, match="pool"):
        store.stat_object("p", "o")
    store.create_pool("p")
    assert (store.objects("p"), store.object_namespaces("p")) == ([], [])
    assert store.read_object(POOL, "o") == b"mine"


def test_they_are_no_images(store: Store) -> None:
    change(store, "o", steps.create())
    store.create("i", 1 << 20)
    assert (list(store.images(POOL)), store.objects(POOL)) == (["i"], ["o"])
    store.create_pool("p")
    store.change_object("p", "o", [steps.create()])
    store.remove_pool("p")


def test_bounds(store: Store) -> None:
    full = bytes(objects.MAX_OBJECT_BYTES)
    change(store, "o", steps.write_full(full))
    change(store, "sparse", steps.write(objects.MAX_OBJECT_BYTES - 1, b"x"))
    assert store.read_object(POOL, "sparse") == full[1:] + b"x"
    at_most = b"x" * objects.MAX_ATTRIBUTE_BYTES
    change(store, "o", steps.set_attribute("x" * objects.MAX_ATTRIBUTE_NAME_BYTES, at_most))
    change(store, "o", steps.set_omap({"x" * objects.MAX_OMAP_KEY_BYTES: b"x" * (1 << 20)}))
    change(store, "o", steps.set_omap_header(b"x" * (1 << 20)))
    change(store, "x" * objects.MAX_NAME_BYTES, steps.create())
    for step in (
        steps.append(b"x"),
        steps.write(objects.MAX_OBJECT_BYTES, b"x"),
        steps.write(1 << 60, b""),
        steps.truncate(objects.MAX_OBJECT_BYTES + 1),
        steps.set_attribute("a", at_most + b"x"),
        steps.set_omap({"a": bytes((1 << 20) + 1)}),
        steps.set_omap_header(bytes((1 << 20) + 1)),
    ):
        with pytest.raises(TooLarge):
            change(store, "o", step)
    with pytest.raises(TooLarge):
        change(store, "o", *[steps.set_omap({"a": bytes(1 << 20)})] * 21)
    for step in (
        steps.set_attribute("", b""),
        steps.set_attribute("x" * 256, b""),
        steps.set_omap({"x" * 4001: b""}),
        steps.remove_omap(["x" * 4001]),
        steps.write(-1, b"x"),
        steps.truncate(-1),
        steps.zero(0, -1),
    ):
        with pytest.raises(InvalidArgument):
            change(store, "o", step)
    with pytest.raises(InvalidArgument):
        change(store, "o", *[steps.assert_exists()] * (objects.MAX_STEPS + 1))
    for number in range(objects.MAX_ATTRIBUTES - 1):
        change(store, "o", steps.set_attribute(str(number), b""))
    with pytest.raises(TooLarge):
        change(store, "o", steps.set_attribute("one more", b""))
    change(store, "o", steps.set_attribute("0", b"again"))


@pytest.mark.parametrize("name", ["", "x" * 2049, "ü" * 1025])
def test_names_that_are_none(store: Store, name: str) -> None:
    with pytest.raises(InvalidArgument):
        store.stat_object(POOL, name)
    with pytest.raises(InvalidArgument):
        change(store, name, steps.create())


def test_a_place_cannot_lie(store: Store) -> None:
    """Neither a pool nor a namespace may reach into others by its name."""
    store.change_object(POOL, "o", [steps.create()], namespace="n")
    calls: list[Callable[[], object]] = [
        lambda: store.stat_object("rbd/n", "o"),
        lambda: store.objects("rbd/n"),
        lambda: store.object_namespaces("rbd/n"),
        lambda: store.change_object("rbd", "o", [steps.create()], namespace="n/"),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument):
            call()


def test_what_is_not_there(store: Store) -> None:
    reads: list[Callable[[str, str], object]] = [store.stat_object, store.read_object]
    for read in [*reads, store.object_attributes, store.object_omap, store.object_omap_header]:
        with pytest.raises(NotFound, match="no object 'o'"):
            read(POOL, "o")
        with pytest.raises(NotFound, match="no pool"):
            read("none", "o")
    for step in (
        steps.remove(),
        steps.remove_attribute("a"),
        steps.remove_omap(["a"]),
        steps.clear_omap(),
        steps.compare_attribute("a", None),
    ):
        with pytest.raises(NotFound):
            change(store, "o", step)
    assert store.objects(POOL) == []


def test_one_maker_of_many(store: Store) -> None:
    """Of all that make an object exclusively, one does; of all that add, none is lost."""
    made: list[int] = []

    def work(number: int) -> None:
        try:
            change(store, "one", steps.create(exclusively=True), steps.append(bytes([number])))
            made.append(number)
        except AlreadyExists:
            pass
        for _ in range(20):
            change(store, "log", steps.append(bytes([number])), steps.set_omap({f"{number}": b"x"}))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read_object(POOL, "one") == bytes(made)
    assert sorted(store.read_object(POOL, "log")) == sorted(list(range(4)) * 20)
    assert list(store.object_omap(POOL, "log").values) == ["0", "1", "2", "3"]


def test_reads_are_of_one_moment(store: Store) -> None:
    """A writer changes all pieces, and the whole omap, at once; no reader may see two generations."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 1) % 200
            data, keys = bytes([number]) * (4 * PIECE), [f"{key}" for key in range(40)]
            change(store, "o", steps.write_full(data), steps.set_omap(dict.fromkeys(keys, bytes([number]))))

    change(store, "o", steps.write_full(b"\xff"), steps.set_omap({"0": b"\xff"}))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(100):
            assert len(set(store.read_object(POOL, "o"))) == 1
            assert len(set(store.object_omap(POOL, "o").values.values())) == 1
    finally:
        stop.set()
        writer.join()
