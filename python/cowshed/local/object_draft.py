"""One small object as a change is about to leave it: read as far as the change asks, put down at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator

from cowshed.errors import StoreDamaged, TooLarge
from cowshed.local import keys
from cowshed.local.catalog import Change, View
from cowshed.local.clock import now
from cowshed.local.stored import PIECE_BYTES, StoredObject
from cowshed.store.objects import MAX_ATTRIBUTES, MAX_OBJECT_BYTES


def read_piece(view: View, record: StoredObject, number: int) -> bytes:
    """A piece of an object's data in full. Raises StoreDamaged."""
    stored = view.kernel.get(keys.object_piece(record.id, number))
    length = record.piece_bytes(number)
    if stored is None or len(stored) not in (0, length):
        raise StoreDamaged(f"piece {number} of object {record.id} is not as its record says")
    return stored or bytes(length)


def read_data(view: View, record: StoredObject, offset: int, length: int) -> bytes:
    """The bytes of a range, as far as the object goes."""
    end = min(record.size, offset + length)
    if offset >= end:
        return b""
    first = offset // PIECE_BYTES
    pieces = b"".join(read_piece(view, record, at) for at in range(first, -(-end // PIECE_BYTES)))
    return pieces[offset - first * PIECE_BYTES : end - first * PIECE_BYTES]


class Draft:
    """Nothing is put into the change before `put`; and then each key once.

    The record is required as it was read, and with it all else of the object, whose version grows with each
    change.
    """

    def __init__(self, change: Change, key: bytes) -> None:
        self._change = change
        self._key = key
        value = change.get(key)
        self.before = None if value is None else StoredObject.decode(key, value)
        self._now = self.before
        self._changed = False
        self._kept = True
        """Whether the object is still the one that was stored, so that what is not drafted is there."""
        self._omap_kept = True
        self._pieces: dict[int, bytes] = {}
        """As they will be stored: empty for zeros."""
        self._attributes: dict[str, bytes | None] = {}
        self._omap: dict[str, bytes | None] = {}
        self._header: bytes | None = None

    @property
    def record(self) -> StoredObject | None:
        """As it stands; None: it is not there."""
        return self._now

    def make(self) -> StoredObject:
        """The record, of an object that is made if it is not there."""
        if self._now is None:
            # 64 bits: of any two objects that there ever are, none has the other's data.
            version = self.before.version if self.before else 0
            self._now = StoredObject(os.urandom(8).hex(), 0, now(), version)
            self._changed = True
        return self._now

    def remove(self) -> None:
        self._now = None
        self._changed = True
        self._kept = self._omap_kept = False
        self._pieces.clear()
        self._attributes.clear()
        self._omap.clear()
        self._header = None

    def _update(self, **fields: int) -> None:
        self._now = self.make().changed(**fields)
        self._changed = True

    # --- data

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range, as far as the object goes."""
        end = min(self.make().size, offset + length)
        if offset >= end:
            return b""
        first = offset // PIECE_BYTES
        pieces = b"".join(self._piece(number) for number in range(first, -(-end // PIECE_BYTES)))
        return pieces[offset - first * PIECE_BYTES : end - first * PIECE_BYTES]

    def write(self, offset: int, data: bytes) -> None:
        size = self.make().size
        if offset + len(data) > size:
            self.resize(offset + len(data))
        self._changed = True
        at = 0
        while at < len(data):
            number, start = divmod(offset + at, PIECE_BYTES)
            some = data[at : at + PIECE_BYTES - start]
            length = self.make().piece_bytes(number)
            if len(some) == length:
                self._put_piece(number, some)
            else:
                old = self._piece(number)
                self._put_piece(number, old[:start] + some + old[start + len(some) :])
            at += len(some)

    def zero(self, offset: int, end: int) -> None:
        """Make it zeros from `offset` to `end`, which is within the object."""
        self.write(offset, bytes(end - offset))

    def resize(self, size: int) -> None:
        if size > MAX_OBJECT_BYTES:
            raise TooLarge(
                f"an object of {size} bytes is too large: {MAX_OBJECT_BYTES} are the most",
                hint="an image can have any size",
            )
        old = self.make()
        new = old.changed(size=size)
        # The piece in which the old or the new end lies is cut, or filled up with zeros.
        last = min(old.size, size) // PIECE_BYTES
        had, has = old.piece_bytes(last), new.piece_bytes(last)
        if has != had and has:
            edge = self._piece(last) if had else b""
            self._put_piece(last, edge[:has].ljust(has, b"\0"))
        for number in range(max(last + 1, old.pieces), new.pieces):
            self._pieces[number] = b""
        for number in range(new.pieces, old.pieces):
            self._pieces.pop(number, None)
        self._update(size=size)

    def _piece(self, number: int) -> bytes:
        """In full; one that there is."""
        drafted = self._pieces.get(number)
        if drafted is not None:
            return drafted or bytes(self.make().piece_bytes(number))
        assert self.before is not None
        assert self._kept
        # As long as it was stored: whoever changes its length drafts it.
        return read_piece(self._change, self.before, number)

    def _put_piece(self, number: int, data: bytes) -> None:
        self._pieces[number] = bytes(data) if data.strip(b"\0") else b""

    # --- attributes

    def attribute(self, name: str) -> bytes | None:
        if name in self._attributes or not self._kept or self.before is None:
            return self._attributes.get(name)
        return self._change.kernel.get(keys.object_attribute(self.before.id, name))

    def set_attribute(self, name: str, value: bytes | None) -> None:
        """None: remove it."""
        record = self.make()
        count = record.attributes + (value is not None) - (self.attribute(name) is not None)
        if value is not None and count > MAX_ATTRIBUTES:
            raise TooLarge(f"an object has {MAX_ATTRIBUTES} attributes at most")
        self._attributes[name] = value
        self._update(attributes=count)

    # --- omap

    def omap(self, key: str) -> bytes | None:
        if key in self._omap or not self._omap_kept or self.before is None:
            return self._omap.get(key)
        return self._change.kernel.get(keys.object_omap_key(self.before.id, key))

    def set_omap(self, key: str, value: bytes | None) -> None:
        """None: remove it."""
        count = self.make().omap + (value is not None) - (self.omap(key) is not None)
        self._omap[key] = value
        self._update(omap=count)

    def remove_omap_range(self, first: str, end: str) -> None:
        found = {key for key, value in self._omap.items() if value is not None}
        if self._omap_kept and self.before is not None:
            prefix = keys.object_omap(self.before.id)
            for stored, _ in self._scan(prefix, prefix + first.encode()):
                key = stored[len(prefix) :].decode()
                if key.encode() >= end.encode():
                    break
                if key not in self._omap:
                    found.add(key)
        for key in found:
            if first.encode() <= key.encode() < end.encode():
                self.set_omap(key, None)
        self._changed = True

    def clear_omap(self) -> None:
        self._omap_kept = False
        self._omap.clear()
        self._header = None
        self._update(omap=0, header=0)

    def set_header(self, data: bytes) -> None:
        self._header = data
        self._update(header=len(data))

    # --- the end

    def put(self) -> StoredObject | None:
        """Put what is different into the change; the record as it is then."""
        if not self._changed:
            return self._now
        change, before, record = self._change, self.before, self._now
        values: dict[bytes, bytes | None] = {}
        if before is not None:
            values |= dict.fromkeys(self._forgotten(before))
        if record is not None:
            record = record.changed(version=record.version + 1, modified=now())
            for number, piece in self._pieces.items():
                values[keys.object_piece(record.id, number)] = piece
            for name, value in self._attributes.items():
                values[keys.object_attribute(record.id, name)] = value
            for key, value in self._omap.items():
                values[keys.object_omap_key(record.id, key)] = value
            if self._header is not None:
                values[keys.object_header(record.id)] = self._header or None
        values[self._key] = None if record is None else record.encode()
        for each, value in values.items():
            if value is None:
                change.delete(each)
            else:
                change.put(each, value)
        return record

    def _forgotten(self, before: StoredObject) -> Iterator[bytes]:
        """Keys of the stored object that it is known not to have any more."""
        if not self._kept:
            yield from keys_of(self._change, before.id)
            return
        assert self._now is not None
        for number in range(self._now.pieces, before.pieces):
            yield keys.object_piece(before.id, number)
        if not self._omap_kept:
            yield from (key for key, _ in self._scan(keys.object_omap(before.id), None))
            yield keys.object_header(before.id)

    def _scan(self, prefix: bytes, first: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        if first is not None:
            value = self._change.kernel.get(first)
            if value is not None:
                yield first, value
        yield from scan_slowly(self._change, prefix, after=first)


def scan_slowly(view: View, prefix: bytes, *, after: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
    """As `View.scan`, some values at a time: these may be large."""
    while page := view.kernel.scan(prefix, after=after, limit=16):
        yield from page
        after = page[-1][0]


def keys_of(view: View, object_id: str) -> Iterator[bytes]:
    """All keys that an object has but its record's."""
    for prefix in (
        keys.object_data(object_id),
        keys.object_attributes(object_id),
        keys.object_omap(object_id),
        keys.object_header(object_id),
    ):
        yield from (key for key, _ in scan_slowly(view, prefix))
