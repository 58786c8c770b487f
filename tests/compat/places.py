"""Ioctx without the module `rados`: the scopes of an open store, for tests of `rbd` alone."""

from __future__ import annotations

from typing import Any

from cowshed.compat import rbd
from cowshed.compat.conf import Conf
from cowshed.compat.rbd.translating import answering
from cowshed.compat.scope import Scope, Scoped
from cowshed.store import ImageSpec, Store
from cowshed.store.features import mask

_OPERATIONS = {"clone-parent": 1, "clone-child": 2, "group": 4, "snap-trash": 8}


class Ioctx(Scoped):
    """A pool and namespace of a store."""

    def __init__(self, store: Store, pool: str, namespace: str, conf: Conf) -> None:
        self._scope = Scope(store, pool, namespace, conf)

    def scope(self) -> Scope:
        return self._scope

    def spec(self, name: str) -> ImageSpec:
        return ImageSpec(self._scope.pool, self._scope.namespace, name)

    def get_pool_id(self) -> int:
        return {pool.name: pool.id for pool in self._scope.store.pools()}[self._scope.pool]


class StorePlace:
    """A place of pool_programme: cowshed's module on a store."""

    rbd: Any = rbd

    def __init__(self, store: Store, pools: tuple[str, ...]) -> None:
        self._store = store
        self.conf = Conf()
        for pool in pools:
            store.create_pool(pool)

    def ioctx(self, pool: str, namespace: str = "") -> Ioctx:
        return Ioctx(self._store, pool, namespace, self.conf)

    def configure(self, key: str, value: str) -> None:
        self.conf.set(key, value)

    def opened(self, ioctx: Ioctx, name: str) -> Any:
        return self._store.open(ioctx.spec(name))

    def snap(self, ioctx: Ioctx, name: str, verb: str, snapshot: str) -> None:
        image, snap = name.encode(), snapshot.encode()
        message = {
            "create": f"error creating snapshot {snap!r} from {image!r}",
            "remove": f"error removing snapshot {snap!r} from {image!r}",
            "protect": f"error protecting snapshot {image!r}@{snap!r}",
            "unprotect": f"error unprotecting snapshot {image!r}@{snap!r}",
        }[verb]
        with answering(message):
            getattr(self._store, f"{verb}_snapshot")(ioctx.spec(name).at(snapshot))

    def facts(self, ioctx: Ioctx, name: str) -> tuple[object, ...]:
        stat = self._store.stat(ioctx.spec(name))
        parent = stat.parent and (stat.parent.pool, stat.parent.image, stat.parent.snapshot)
        operations = sum(_OPERATIONS[operation] for operation in stat.op_features)
        return stat.order, stat.size, mask(stat.features), operations, parent

    def flatten(self, ioctx: Ioctx, name: str) -> None:
        self._store.flatten(ioctx.spec(name))
