"""Every operation is one transaction: refused at its commit, it leaves everything as it was."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from cowshed._kernel import KernelError
from cowshed.errors import CowshedError, NoSpace
from cowshed.local import LocalStore
from cowshed.store import Store, steps
from cowshed.transfer import import_diff, import_raw

OBJECT = [
    steps.write(0, b"x" * 200_000),
    steps.set_attribute("a", b"2"),
    steps.set_omap({"k": b"2", "l": b"2"}),
    steps.remove_omap_range("m", "n"),
    steps.truncate(100_000),
]
OPERATIONS: dict[str, Callable[[Store], Any]] = {
    "create_pool": lambda s: s.create_pool("q"),
    "remove_pool": lambda s: s.remove_pool("p"),
    "create": lambda s: s.create("c", 5),
    "rename": lambda s: s.rename("a", "c"),
    "resize": lambda s: s.resize("a", 4096, allow_shrink=True),
    "remove": lambda s: s.remove("b"),
    "create_snapshot": lambda s: s.create_snapshot("a@3"),
    "remove_snapshot": lambda s: s.remove_snapshot("a@1"),
    "rename_snapshot": lambda s: s.rename_snapshot("a@1", "a@3"),
    "purge_snapshots": lambda s: s.purge_snapshots("a"),
    "rollback": lambda s: s.rollback("a@1"),
    "protect": lambda s: s.protect_snapshot("a@1"),
    "clone": lambda s: s.clone("a@1", "c"),
    "flatten": lambda s: s.flatten("b"),
    "change_object": lambda s: s.change_object("rbd", "o", OBJECT),
    "import_raw": lambda s: import_raw(s, "c", io.BytesIO(b"x" * 10000)),
    "import_diff": lambda s: import_diff(s, "b", io.BytesIO(b"rbd diff v1\ns" + bytes(8) + b"e")),
}


class Refusing:
    """A kernel whose next commits fail as on a full disk; everything else passes through."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self.refuse = False
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def transaction(self) -> Any:
        return _Transaction(self, self._kernel.transaction())


class _Transaction:
    def __init__(self, kernel: Refusing, inner: Any) -> None:
        self._kernel = kernel
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __enter__(self) -> Any:
        self._inner.__enter__()
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> Any:
        if kind is None:
            self._kernel.commits += 1
        if kind is None and self._kernel.refuse:
            error = KernelError("no room")
            error.kind = "no-space"
            self._inner.__exit__(KernelError, error, None)
            raise error
        return self._inner.__exit__(kind, value, trace)


def everything(store: LocalStore) -> Any:
    """All that can be observed of a store."""
    content = {}
    for name in store.images("rbd"):
        for spec in [name, *(f"{name}@{s.name}" for s in store.snapshots(name))]:
            with store.open(spec, read_only=True) as image:
                content[spec] = image.read(0, image.size)
    return store._kernel.scan(b""), content, [info.id for info in store._kernel.versions()]


@pytest.mark.parametrize("name", OPERATIONS)
def test_all_or_nothing(store: LocalStore, name: str) -> None:
    store.create_pool("p")
    store.create("a", 100_000)
    for snapshot in ("1", "2"):
        with store.open("a") as image:
            image.write(int(snapshot) * 5000, snapshot.encode() * 5000)
        store.create_snapshot(f"a@{snapshot}")
    store.clone("a@2", "b")
    values = {"k": b"1", "m": b"1"}
    store.change_object("rbd", "o", [steps.write(0, b"y" * 300_000), steps.set_omap(values)])
    store.change_object("p", "gone with its pool", [steps.write(0, b"y" * 300_000), steps.set_omap(values)])
    before = everything(store)

    kernel: Any = Refusing(store._kernel)
    again = LocalStore(kernel, store.target)
    kernel.refuse = True
    with pytest.raises(NoSpace):
        OPERATIONS[name](again)
    assert everything(store) == before
    assert store.check() == []

    kernel.refuse, kernel.commits = False, 0
    OPERATIONS[name](again)
    assert everything(store) != before
    assert store.check() == []
    if not name.startswith("import"):
        assert kernel.commits == 1


def test_an_overtaken_change_is_decided_anew(store: LocalStore) -> None:
    store.create("a", 5)
    catalog = store._catalog
    decided = []

    def decide(change: Any) -> str:
        from cowshed.store import ImageSpec

        decided.append(change.image(ImageSpec("rbd", "", "a")))
        if len(decided) == 1:
            store.create_snapshot("a@between")
        return "done"

    assert catalog.change(decide) == "done"
    assert len(decided) == 2
    assert decided[1][1].snapshots == 1


def test_an_error_is_not_mistaken_for_being_overtaken(store: LocalStore) -> None:
    def decide(change: Any) -> None:
        change.transaction.drop(10**6)

    with pytest.raises(KernelError):
        store._catalog.change(decide)
    with pytest.raises(CowshedError):
        store.open("a")
