"""What a disk of the guest must hold, by what the host knew when the disk's state was taken.

From below: every record and step that the guest called durable before is there. From above: nothing is there
that was written after. Between the two: each writer waits for a record before it begins the next, so what is
there is a beginning of what it wrote, and at most one record more is there in part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from guest.records import NAMES, WRITERS, Tree, Writer, epoch_of, record, step


@dataclass(frozen=True)
class Known:
    """What the host knows about a moment; counts are by session and writer, for all writers of a session."""

    durable: Mapping[tuple[int, int], int]
    """The records or steps called durable before the moment."""
    begun: Mapping[tuple[int, int], int]
    """The records or steps that can have been begun before the moment."""
    epoch: int
    """The last epoch that the guest can have heard of before the moment."""


def complaints(files: Tree, known: Known) -> list[str]:
    """Whatever is wrong with `files`, the regular files of a disk; a sentence each."""
    found = []
    for session in sorted({session for session, _ in known.durable}):
        for writer in WRITERS:
            path = f"records/{session}/{writer.number}"
            check = _log if writer.kind == "log" else _ring
            data = files.get(path, b"")
            found += [f"{path}: {it}" for it in check(session, writer, data, known)]
        prefix = f"names/{session}/"
        tree = {path.removeprefix(prefix): data for path, data in files.items() if path.startswith(prefix)}
        found += [f"{prefix}: {it}" for it in _names(session, tree, known)]
    return found


def _log(session: int, writer: Writer, data: bytes, known: Known) -> Iterator[str]:
    count, epoch = 0, 0
    while True:
        piece = data[count * writer.length : (count + 1) * writer.length]
        said = epoch_of(piece)
        if said is None or piece != record(session, writer, count, said):
            break
        if said < epoch:
            yield f"record {count} is of epoch {said}, the one before it of {epoch}"
        epoch = said
        count += 1
    tail = data[count * writer.length :]
    yield from _amount(session, writer.number, count, bool(tail), known)
    if epoch > known.epoch:
        yield f"a record of epoch {epoch} in a state of epoch {known.epoch}"
    elif len(tail) > writer.length:
        yield f"{len(tail)} bytes behind record {count}, which would have {writer.length}"
    elif not any(
        _mixed(tail, record(session, writer, count, later)) for later in range(epoch, known.epoch + 1)
    ):
        yield f"the {len(tail)} bytes behind record {count} are not those of a record begun"


def _ring(session: int, writer: Writer, data: bytes, known: Known) -> Iterator[str]:
    """Slots hold the last records; the oldest may be in part written over by the next."""
    length, slots = writer.length, writer.slots
    if len(data) > slots * length:
        yield f"has {len(data)} bytes, more than {slots} records"
    pieces = [data[slot * length : (slot + 1) * length].ljust(length, b"\0") for slot in range(slots)]
    epochs: dict[int, int] = {}
    for slot, piece in enumerate(pieces):
        digits, said = piece[4:10], epoch_of(piece)
        if said is not None and digits.isdigit():
            number = int(digits)
            if number % slots == slot and piece == record(session, writer, number, said):
                epochs[number] = said
    count = max(epochs, default=-1) + 1
    oldest = count - slots
    untouched = oldest in epochs or (oldest < 0 and not any(pieces[count % slots]))
    yield from _amount(session, writer.number, count, not untouched, known)
    first: int | None = None
    epoch = 0
    for number in range(max(0, oldest + 1), count):
        if number not in epochs:
            yield f"record {number} of {count} is missing or wrong"
            continue
        if epochs[number] < epoch:
            yield f"record {number} is of epoch {epochs[number]}, the one before it of {epoch}"
        epoch = epochs[number]
        first = epoch if first is None else first
    if epoch > known.epoch:
        yield f"a record of epoch {epoch} in a state of epoch {known.epoch}"
    elif not untouched:
        # No other record tells the epoch of the one that was here before.
        olds = [record(session, writer, oldest, it) for it in range((first or 0) + 1)]
        news = [record(session, writer, count, it) for it in range(epoch, known.epoch + 1)]
        was = olds if oldest >= 0 else [bytes(length)]
        if not any(_mixed(pieces[count % slots], new, old) for old in was for new in news):
            yield f"in the place of record {oldest} is neither that nor record {count} in part"


def _amount(session: int, writer: int, count: int, more: bool, known: Known) -> Iterator[str]:
    """`count` records are there, and `more`: something of the next one."""
    durable, begun = known.durable[session, writer], known.begun[session, writer]
    if count < durable:
        yield f"{durable} records were durable, {count} are there"
    if count + more > begun:
        yield f"only {begun} records can have been begun, there are {count}{' and more' if more else ''}"


def _mixed(piece: bytes, new: bytes, old: bytes | None = None) -> bool:
    """Whether each byte of a piece is that of `new` or of `old` (None: zero)."""
    old = bytes(len(new)) if old is None else old
    return len(piece) <= len(new) and all(it in (a, b) for it, a, b in zip(piece, new, old, strict=False))


def _names(session: int, tree: Tree, known: Known) -> Iterator[str]:
    """The tree must be that after some step that may have been the last."""
    durable, begun = known.durable[session, NAMES], known.begun[session, NAMES]
    state: Tree = {}
    for number in range(begun + 1):
        if number >= durable and (
            tree == state or (number < begun and _in_part(session, tree, state, number))
        ):
            return
        state = step(session, state, number)
    sizes = {name: len(tree[name]) for name in sorted(tree)}
    yield f"is in no state from step {durable} to {begun}: {sizes}"


def _in_part(session: int, tree: Tree, state: Tree, number: int) -> bool:
    """Whether a tree is `state` with a part of step `number`. All but two of the steps happen at once."""
    after = step(session, state, number)
    changed = [name for name in after if after[name] != state.get(name)]
    if _without(tree, changed) != _without(state, changed):
        return False
    if number % 6 == 0:
        (name,) = changed
        return name in tree and _mixed(tree[name], after[name])
    if number % 6 == 3:
        # What a file will lose may be overwritten with zeros before it is lost.
        name, link = changed
        data, old, left = tree.get(name, b""), state[name], after[name]
        same = data == tree.get(link) and len(data) == len(old)
        return same and data.startswith(left) and _mixed(data, old)
    return False


def _without(tree: Tree, names: list[str]) -> Tree:
    return {name: data for name, data in tree.items() if name not in names}
