"""What `check` looks at in small objects: each has all its pieces, and nothing is kept of none."""

from __future__ import annotations

from collections.abc import Iterator

from cowshed.local import keys
from cowshed.local.catalog import Catalog
from cowshed.local.object_draft import scan_slowly
from cowshed.local.stored import StoredObject


def check_objects(catalog: Catalog) -> Iterator[str]:
    """All that is wrong, a sentence each."""
    ids: dict[str, str] = {}
    for key, value in catalog.scan(keys.OBJECTS):
        record = StoredObject.decode(key, value)
        pool, _, name = key[len(keys.OBJECTS) :].decode().split("/", 2)
        what = f"object {name!r} of pool {pool!r}"
        if record.id in ids:
            yield f"{what} has the same id as {ids[record.id]}"
        ids[record.id] = what
        if catalog.get(keys.pool(pool)) is None:
            yield f"{what} is in a pool that does not exist"
        yield from _data(catalog, record, what)
        yield from _counts(catalog, record, what)
    for prefix, kind in (
        (keys.OBJECT_DATA, "data"),
        (keys.OBJECT_ATTRIBUTES, "an attribute"),
        (keys.OBJECT_OMAP, "an omap"),
        (keys.OBJECT_HEADERS, "an omap's header"),
    ):
        for object_id in _ids(catalog, prefix):
            if object_id not in ids:
                yield f"{kind} is kept of object {object_id}, which does not exist"


def _data(catalog: Catalog, record: StoredObject, what: str) -> Iterator[str]:
    missing = set(range(record.pieces))
    prefix = keys.object_data(record.id)
    for key, value in scan_slowly(catalog, prefix):
        place = key[len(prefix) :].decode(errors="replace")
        try:
            number = int(place, 16)
        except ValueError:
            number = -1
        if number not in missing or place != f"{number:08x}":
            yield f"{what} has a piece {place!r}, which lies behind its end"
            continue
        missing.discard(number)
        length = record.piece_bytes(number)
        if len(value) not in (0, length):
            yield f"piece {number} of {what} should have {length} bytes and has {len(value)}"
    for number in sorted(missing):
        yield f"{what} misses piece {number} of its data"


def _counts(catalog: Catalog, record: StoredObject, what: str) -> Iterator[str]:
    for prefix, kind, count in (
        (keys.object_attributes(record.id), "attributes", record.attributes),
        (keys.object_omap(record.id), "omap keys", record.omap),
    ):
        found = sum(1 for _ in scan_slowly(catalog, prefix))
        if found != count:
            yield f"{what} should have {count} {kind} and has {found}"
    header = len(catalog.get(keys.object_header(record.id)) or b"")
    if header != record.header:
        yield f"the omap's header of {what} should have {record.header} bytes and has {header}"


def _ids(catalog: Catalog, prefix: bytes) -> Iterator[str]:
    """Of objects that have keys with the prefix: each id once, and a look for each."""
    after: bytes | None = None
    while page := catalog.kernel.scan(prefix, after=after, limit=1):
        object_id = page[0][0][len(prefix) :].partition(b"/")[0]
        yield object_id.decode(errors="replace")
        after = prefix + object_id + (b"/\xff" if prefix != keys.OBJECT_HEADERS else b"")
