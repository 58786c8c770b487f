"""An Ioctx and an RBD of the smallest kind, for tests of `Image` alone."""

from __future__ import annotations

from cowshed.compat.conf import Conf
from cowshed.compat.rbd.translating import answering
from cowshed.compat.scope import Scope, Scoped
from cowshed.store import ImageSpec, Store


class Pool(Scoped):
    """A pool of a store, as an Ioctx hands it out."""

    def __init__(self, store: Store, pool: str = "rbdimage", namespace: str = "") -> None:
        self.store = store
        self._scope = Scope(store, pool, namespace, Conf())

    def scope(self) -> Scope:
        return self._scope

    def get_pool_id(self) -> int:
        return next(pool.id for pool in self.store.pools() if pool.name == self._scope.pool)


class Rbd:
    """What `image_programme` needs of class RBD."""

    def create(self, io: Pool, name: str, size: int) -> None:
        with answering("error creating image"):
            io.store.create(_spec(io, name), size)

    def clone(self, io: Pool, parent: str, snapshot: str, to: Pool, name: str) -> None:
        form = next(
            o.value for o in io.store.config(pool=io.scope().pool) if o.name == "rbd_default_clone_format"
        )
        with answering("error creating clone"):
            io.store.clone(_spec(io, parent).at(snapshot), _spec(to, name), clone_format=int(form))

    def config_set(self, io: Pool, key: str, value: str) -> None:
        io.store.set_config(key, value, pool=io.scope().pool)

    def list(self, io: Pool) -> list[str]:
        return list(io.store.images(io.scope().pool))

    def remove(self, io: Pool, name: str) -> None:
        with answering("error removing image"):
            io.store.remove(_spec(io, name))


def _spec(io: Pool, name: str) -> ImageSpec:
    scope = io.scope()
    return ImageSpec(scope.pool, scope.namespace, name)
