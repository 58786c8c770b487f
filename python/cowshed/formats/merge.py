"""Two rbd diffs merged into one, record by record: what `rbd merge-diff` does.

As there, both diffs must be in the order of their offsets, without overlaps, as every export is. So one
record of each is held at a time, however long the diffs are.
"""

from __future__ import annotations

from collections.abc import Iterator

from cowshed.errors import FormatError, InvalidArgument
from cowshed.formats.diff import Data, Header, Reader, Zeros


def merged_header(first: Reader, second: Reader) -> Header:
    """The header of the merged diff. Raises InvalidArgument where the second does not follow the first."""
    end, start = first.header.to_snapshot, second.header.from_snapshot
    if end != start:
        raise InvalidArgument(
            f"{first.name} ends at {_called(end)}, but {second.name} starts from {_called(start)}",
            hint="give two diffs of one image, the older one first",
        )
    return Header(
        first.header.from_snapshot,
        second.header.to_snapshot,
        second.header.size,
        second.header.protected,
    )


def _called(snapshot: str | None) -> str:
    return "no snapshot" if snapshot is None else f"snapshot {snapshot!r}"


def merged(first: Reader, second: Reader) -> Iterator[Data | Zeros]:
    """The records of the second on top of those of the first, ascending; reads both to their end records.

    Raises FormatError for records that are not in the order of their offsets, and what the readers raise.
    """
    below = _within(first, second.header.size)
    lower = next(below, None)
    for upper in _ascending(second):
        while lower is not None and lower.offset < upper.offset:
            yield _before(lower, upper.offset)
            lower = _behind(lower, upper.offset) or next(below, None)
        yield upper
        while lower is not None and lower.offset < upper.end:
            lower = _behind(lower, upper.end) or next(below, None)
    while lower is not None:
        yield lower
        lower = next(below, None)


def _within(reader: Reader, size: int) -> Iterator[Data | Zeros]:
    """What the first diff does to an image that then gets `size` bytes.

    Records beyond are cut off. What a growing image gains reads as zeros, and that must be written: the image
    that the merged diff is applied to may have data there, which the first diff's size would cut off.
    """
    for record in _ascending(reader):
        if record.offset < size:
            yield _before(record, size)
    if reader.header.size < size:
        yield Zeros(reader.header.size, size - reader.header.size)


def _ascending(reader: Reader) -> Iterator[Data | Zeros]:
    end = 0
    for record in reader.records():
        if record.end == record.offset:
            continue
        if record.offset < end:
            raise FormatError(
                f"{reader.name} has a record at {record.offset} behind one that ends at {end}",
                hint="only diffs whose records ascend can be merged",
            )
        end = record.end
        yield record


def _before(record: Data | Zeros, at: int) -> Data | Zeros:
    """The part of a record before an offset, which is behind the record's start."""
    if record.end <= at:
        return record
    if isinstance(record, Data):
        return Data(record.offset, record.data[: at - record.offset])
    return Zeros(record.offset, at - record.offset)


def _behind(record: Data | Zeros, at: int) -> Data | Zeros | None:
    """The part of a record from an offset on, which is not before its start; None if there is none."""
    if record.end <= at:
        return None
    if isinstance(record, Data):
        return Data(at, record.data[at - record.offset :])
    return Zeros(at, record.end - at)
