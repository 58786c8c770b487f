"""Small objects: named bytes with attributes and an ordered map, kept in the catalogue."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

from cowshed.errors import AlreadyExists, InvalidArgument, Mismatch, NotFound, StoreDamaged, TooLarge
from cowshed.local import keys
from cowshed.local.boundary import kernel_errors
from cowshed.local.catalog import Catalog, Change
from cowshed.local.object_draft import Draft, keys_of, read_data, scan_slowly
from cowshed.local.part import Part
from cowshed.local.stored import StoredObject
from cowshed.store import objects
from cowshed.store.objects import Objects
from cowshed.store.records import ObjectStat, OmapPage
from cowshed.store.spec import check_name
from cowshed.store.steps import ObjectStep

T = TypeVar("T")
_TRIES = 10
"""How often a reader tries to see an object of one moment before it keeps the writers away."""


class LocalObjects(Part, Objects):
    """The objects of a local store."""

    @kernel_errors
    def objects(self, pool: str, namespace: str = "", *, after: str = "", limit: int = 1000) -> list[str]:
        prefix = keys.objects(*_place(pool, namespace))
        _check_limit(limit)
        self._catalog.pool(pool)
        behind = prefix + _encoded(after) if after else None
        found = itertools.islice(self._catalog.scan(prefix, after=behind), limit)
        return [key[len(prefix) :].decode() for key, _ in found]

    @kernel_errors
    def object_namespaces(self, pool: str) -> list[str]:
        check_name(pool, "pool")
        self._catalog.pool(pool)
        return list(namespaces_with_objects(self._catalog, pool))

    @kernel_errors
    def stat_object(self, pool: str, name: str, *, namespace: str = "") -> ObjectStat:
        return self._look(pool, namespace, name, _stat)

    @kernel_errors
    def read_object(
        self, pool: str, name: str, *, namespace: str = "", offset: int = 0, length: int | None = None
    ) -> bytes:
        most = objects.MAX_OBJECT_BYTES if length is None else length
        if offset < 0 or most < 0:
            raise InvalidArgument("an offset and a length are no less than 0")
        return self._look(
            pool, namespace, name, lambda record: read_data(self._catalog, record, offset, most)
        )

    @kernel_errors
    def object_attributes(self, pool: str, name: str, *, namespace: str = "") -> dict[str, bytes]:
        def read(record: StoredObject) -> dict[str, bytes]:
            prefix = keys.object_attributes(record.id)
            found = scan_slowly(self._catalog, prefix)
            return {key[len(prefix) :].decode(): value for key, value in found}

        return self._look(pool, namespace, name, read)

    @kernel_errors
    def object_omap(
        self,
        pool: str,
        name: str,
        *,
        namespace: str = "",
        after: str = "",
        prefix: str = "",
        limit: int = 1000,
    ) -> OmapPage:
        _check_limit(limit)
        beginning, behind = _encoded(prefix), _encoded(after)

        def read(record: StoredObject) -> OmapPage:
            root = keys.object_omap(record.id)
            found: dict[str, bytes] = {}
            size = 0
            for key, value in scan_slowly(
                self._catalog, root + beginning, after=root + behind if behind else None
            ):
                if len(found) == limit or size > objects.MAX_PAGE_BYTES:
                    return OmapPage(found, True)
                found[key[len(root) :].decode()] = value
                size += len(value)
            return OmapPage(found, False)

        return self._look(pool, namespace, name, read)

    @kernel_errors
    def object_omap_values(
        self, pool: str, name: str, keys: Sequence[str], *, namespace: str = ""
    ) -> dict[str, bytes]:
        wanted = list(
            dict.fromkeys(_checked(key, "an omap key", 0, objects.MAX_OMAP_KEY_BYTES) for key in keys)
        )
        if len(wanted) > objects.MAX_STEPS:
            raise InvalidArgument(f"{len(wanted)} keys are asked for: {objects.MAX_STEPS} are the most")
        return self._look(pool, namespace, name, lambda record: _omap_values(self._catalog, record, wanted))

    @kernel_errors
    def object_omap_header(self, pool: str, name: str, *, namespace: str = "") -> bytes:
        return self._look(
            pool, namespace, name, lambda record: self._catalog.get(keys.object_header(record.id)) or b""
        )

    @kernel_errors
    def change_object(
        self, pool: str, name: str, steps: Sequence[ObjectStep], *, namespace: str = ""
    ) -> ObjectStat | None:
        key = _key(pool, namespace, name)
        steps = list(steps)
        _check(steps)

        def decide(change: Change) -> ObjectStat | None:
            change.pool(pool)
            draft = Draft(change, key)
            for step in steps:
                _STEPS[step.do](draft, step, repr(name))
            record = draft.put()
            return None if record is None else _stat(record)

        return self._catalog.change(decide)

    def _look(self, pool: str, namespace: str, name: str, read: Callable[[StoredObject], T]) -> T:
        """What `read` finds of an object, all of one moment: while its record stays, so does all of it."""
        catalog, key = self._catalog, _key(pool, namespace, name)

        def record() -> tuple[bytes, StoredObject]:
            value = catalog.get(key)
            if value is None:
                catalog.pool(pool)
                raise NotFound(f"no object {name!r} in pool {pool!r}")
            return value, StoredObject.decode(key, value)

        for _ in range(_TRIES):
            before, stored = record()
            try:
                found = read(stored)
            except StoreDamaged:
                if catalog.get(key) == before:
                    raise
                continue
            if catalog.get(key) == before:
                return found
        with catalog.gate.alone():
            return read(record()[1])


def namespaces_with_objects(catalog: Catalog, pool: str) -> list[str]:
    """Ascending; a look for each, however many objects there are."""
    prefix = keys.objects_of_pool(pool)
    found: list[str] = []
    after: bytes | None = None
    while page := catalog.kernel.scan(prefix, after=after, limit=1):
        namespace = page[0][0][len(prefix) :].partition(b"/")[0]
        found.append(namespace.decode())
        after = prefix + namespace + b"/\xff"  # no text has such a byte
    return sorted(found)


def remove_objects(change: Change, pool: str) -> None:
    """All objects of a pool, for who is alone."""
    for key, value in change.scan(keys.objects_of_pool(pool)):
        for each in keys_of(change, StoredObject.decode(key, value).id):
            change.delete(each)
        change.delete(key)


def _omap_values(catalog: Catalog, record: StoredObject, wanted: list[str]) -> dict[str, bytes]:
    found = ((key, catalog.get(keys.object_omap_key(record.id, key))) for key in wanted)
    return {key: value for key, value in found if value is not None}


def _stat(record: StoredObject) -> ObjectStat:
    return ObjectStat(record.size, record.modified, record.version)


# --- the steps: each changes a draft, or refuses


def _there(draft: Draft, name: str) -> StoredObject:
    if draft.record is None:
        raise NotFound(f"there is no object {name}")
    return draft.record


def _create_exclusively(draft: Draft, step: ObjectStep, name: str) -> None:
    _assert_missing(draft, step, name)
    draft.make()


def _write(draft: Draft, step: ObjectStep, name: str) -> None:
    draft.write(step.offset, step.data or b"")


def _write_full(draft: Draft, step: ObjectStep, name: str) -> None:
    draft.resize(0)
    draft.write(0, step.data or b"")


def _append(draft: Draft, step: ObjectStep, name: str) -> None:
    draft.write(draft.make().size, step.data or b"")


def _truncate(draft: Draft, step: ObjectStep, name: str) -> None:
    if draft.record is not None:
        draft.resize(step.length)


def _zero(draft: Draft, step: ObjectStep, name: str) -> None:
    if draft.record is None or step.offset >= draft.record.size or not step.length:
        return
    if step.offset + step.length >= draft.record.size:
        draft.resize(step.offset)
    else:
        draft.zero(step.offset, step.offset + step.length)


def _remove(draft: Draft, step: ObjectStep, name: str) -> None:
    _there(draft, name)
    draft.remove()


def _remove_attribute(draft: Draft, step: ObjectStep, name: str) -> None:
    _there(draft, name)
    draft.set_attribute(step.name, None)


def _set_omap(draft: Draft, step: ObjectStep, name: str) -> None:
    draft.make()
    for key, value in step.values.items():
        draft.set_omap(key, value)


def _remove_omap(draft: Draft, step: ObjectStep, name: str) -> None:
    _there(draft, name)
    for key in step.names:
        draft.set_omap(key, None)


def _remove_omap_range(draft: Draft, step: ObjectStep, name: str) -> None:
    _there(draft, name)
    draft.remove_omap_range(step.name, step.end)


def _clear_omap(draft: Draft, step: ObjectStep, name: str) -> None:
    _there(draft, name)
    draft.clear_omap()


def _assert_missing(draft: Draft, step: ObjectStep, name: str) -> None:
    if draft.record is not None:
        raise AlreadyExists(f"object {name} exists already")


def _assert_version(draft: Draft, step: ObjectStep, name: str) -> None:
    version = _there(draft, name).version
    if version != step.length:
        raise Mismatch(f"object {name} has version {version}, not {step.length}")


def _compare(draft: Draft, step: ObjectStep, name: str) -> None:
    data = step.data or b""
    found = (draft.read(step.offset, len(data)) if draft.record else b"").ljust(len(data), b"\0")
    if found != data:
        at = next(at for at, byte in enumerate(data) if found[at] != byte)
        raise Mismatch(f"object {name} has other data at {step.offset + at}", offset=at)


def _compare_attribute(draft: Draft, step: ObjectStep, name: str) -> None:
    _there(draft, name)
    if draft.attribute(step.name) != step.data:
        raise Mismatch(f"the attribute {step.name!r} of object {name} has another value")


def _compare_omap(draft: Draft, step: ObjectStep, name: str) -> None:
    _there(draft, name)
    if draft.omap(step.name) != step.data:
        raise Mismatch(f"the omap key {step.name!r} of object {name} has another value")


_STEPS: dict[str, Callable[[Draft, ObjectStep, str], object]] = {
    "create": lambda draft, step, name: draft.make(),
    "create-exclusively": _create_exclusively,
    "write": _write,
    "write-full": _write_full,
    "append": _append,
    "truncate": _truncate,
    "zero": _zero,
    "remove": _remove,
    "set-attribute": lambda draft, step, name: draft.set_attribute(step.name, step.data or b""),
    "remove-attribute": _remove_attribute,
    "set-omap": _set_omap,
    "remove-omap": _remove_omap,
    "remove-omap-range": _remove_omap_range,
    "clear-omap": _clear_omap,
    "set-omap-header": lambda draft, step, name: draft.set_header(step.data or b""),
    "assert-exists": lambda draft, step, name: _there(draft, name),
    "assert-missing": _assert_missing,
    "assert-version": _assert_version,
    "compare": _compare,
    "compare-attribute": _compare_attribute,
    "compare-omap": _compare_omap,
}


# --- what can be asked at all


def _check(steps: list[ObjectStep]) -> None:
    """Raises InvalidArgument or TooLarge for what can never be done, whatever is there."""
    if len(steps) > objects.MAX_STEPS:
        raise InvalidArgument(f"a change of {len(steps)} steps: {objects.MAX_STEPS} are the most")
    size = 0
    for step in steps:
        if step.do not in _STEPS:
            raise InvalidArgument(f"there is no step {step.do!r}")
        if step.offset < 0 or step.length < 0:
            raise InvalidArgument("an offset and a length are no less than 0")
        if step.do.endswith("-attribute"):
            _checked(step.name, "an attribute's name", 1, objects.MAX_ATTRIBUTE_NAME_BYTES)
            _bound(step.data, objects.MAX_ATTRIBUTE_BYTES, "an attribute")
        elif "omap" in step.do:
            for key in (step.name, step.end, *step.names, *step.values):
                _checked(key, "an omap key", 0, objects.MAX_OMAP_KEY_BYTES)
            for value in (step.data, *step.values.values()):
                _bound(value, objects.MAX_OMAP_VALUE_BYTES, "a value or the header of an omap")
        size += len(step.data or b"") + sum(len(key.encode()) + 16 for key in step.names)
        size += sum(len(key.encode()) + len(value) + 16 for key, value in step.values.items())
    _bound_size(size, objects.MAX_CHANGE_BYTES, "a change")


def _bound(data: bytes | None, most: int, what: str) -> None:
    _bound_size(len(data or b""), most, what)


def _bound_size(size: int, most: int, what: str) -> None:
    if size > most:
        raise TooLarge(f"{what} of {size} bytes is too large: {most} are the most")


def _check_limit(limit: int) -> None:
    if not 0 < limit <= objects.MAX_PAGE:
        raise InvalidArgument(f"a limit is from 1 to {objects.MAX_PAGE}, not {limit}")


def _place(pool: str, namespace: str) -> tuple[str, str]:
    """Names that are none could lie about which pool a key belongs to."""
    check_name(pool, "pool")
    if namespace:
        check_name(namespace, "namespace")
    return pool, namespace


def _key(pool: str, namespace: str, name: str) -> bytes:
    place = _place(pool, namespace)
    return keys.object_(*place, _checked(name, "an object's name", 1, objects.MAX_NAME_BYTES))


def _checked(text: str, what: str, least: int, most: int) -> str:
    if not least <= len(_encoded(text)) <= most:
        raise InvalidArgument(f"{what} has {least} to {most} bytes")
    return text


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidArgument(f"{text[:50]!r} is not valid UTF-8") from None
