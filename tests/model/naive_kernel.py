"""A naive kernel: every version is a dict of blocks, copied whole. The oracle for the real one.

It implements `_kernel.pyi` in memory; stores live in a table by path as long as the process does. Every
stored block carries a token of its own, drawn anew whenever the block is written: two versions share a
block exactly when their tokens are equal, which is what `diff` and the space account are compared with.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from model.kernel_module import BLOCK_SIZE, MAX_DISK_SIZE, KernelError

ZEROS = bytes(BLOCK_SIZE)


def refuse(kind: str, text: str) -> KernelError:
    error = KernelError(text)
    error.kind = kind  # type: ignore[assignment]
    return error


@dataclass
class Version:
    id: int
    head: bool
    size: int
    parent: int | None = None
    hidden: bool = False
    blocks: dict[int, tuple[int, bytes]] = field(default_factory=dict)


@dataclass
class VersionInfo:
    id: int
    head: bool
    hidden: bool
    parent: int | None
    children: int
    size: int
    mapped_blocks: int


@dataclass
class SpaceInfo:
    used_blocks: int
    free_blocks: int
    pending_blocks: int
    unpunched_chunks: int
    versions: int
    hidden_versions: int
    dying_versions: int
    pages: int
    keys: int
    metadata_bytes: int
    catalog_bytes: int
    blocks_file_bytes: int
    cache_bytes: int


class State:
    """What a store holds."""

    def __init__(self) -> None:
        self.versions: dict[int, Version] = {}
        self.keys: dict[bytes, bytes] = {}
        self.ids = itertools.count(1)
        self.tokens = itertools.count(1)
        self.owned = False
        self.pending = 0
        self.lock = threading.RLock()


STORES: dict[str, State] = {}


class NaiveKernel:
    def __init__(self, path: str, state: State) -> None:
        self.path = path
        self.state = state
        self.closed = False

    @staticmethod
    def create(path: str | os.PathLike[str]) -> None:
        path = os.fspath(path)
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
        if os.listdir(path):  # noqa: PTH208
            raise refuse("exists", f"{path} holds something already")
        with open(os.path.join(path, "catalog"), "w"):  # noqa: PTH118, PTH123
            STORES[path] = State()

    @staticmethod
    def open(
        path: str | os.PathLike[str],
        *,
        cache_bytes: int = 67108864,
        wait_seconds: float = 0.0,
        owner: str = "",
        background: bool = True,
    ) -> NaiveKernel:
        path = os.fspath(path)
        state = STORES.get(path)
        if state is None:
            raise refuse("missing", f"no store at {path}")
        if state.owned:
            raise refuse("locked", f"{path} is in use by {owner} (pid {os.getpid()})")
        state.owned = True
        return NaiveKernel(path, state)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.state.owned = False

    def __enter__(self) -> NaiveKernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _alive(self) -> State:
        if self.closed:
            raise refuse("closed", "the store was closed")
        return self.state

    def _find(self, version: int) -> Version:
        found = self._alive().versions.get(version)
        if found is None:
            raise refuse("missing", f"no version {version}")
        return found

    def transaction(self) -> NaiveTransaction:
        self._alive()
        return NaiveTransaction(self)

    def get(self, key: bytes) -> bytes | None:
        with self._alive().lock:  # never while half of a transaction is done
            return self.state.keys.get(key)

    def scan(
        self, prefix: bytes, *, after: bytes | None = None, limit: int = 1000
    ) -> list[tuple[bytes, bytes]]:
        with self._alive().lock:
            found = sorted(
                (key, value)
                for key, value in self.state.keys.items()
                if key.startswith(prefix) and (after is None or key > after)
            )
        return found[:limit]

    def _children(self, version: int) -> list[int]:
        return sorted(v.id for v in self.state.versions.values() if v.parent == version)

    def _info(self, version: Version) -> VersionInfo:
        return VersionInfo(
            version.id,
            version.head,
            version.hidden,
            version.parent,
            len(self._children(version.id)),
            version.size,
            len(version.blocks),
        )

    def version(self, version: int) -> VersionInfo:
        with self._alive().lock:
            return self._info(self._find(version))

    def children(self, version: int, *, after: int = 0, limit: int = 1000) -> list[int]:
        with self._alive().lock:
            self._find(version)
            return [child for child in self._children(version) if child > after][:limit]

    def versions(self, *, after: int = 0, limit: int = 1000) -> list[VersionInfo]:
        with self._alive().lock:
            ids = sorted(id_ for id_ in self.state.versions if id_ > after)[:limit]
            return [self._info(self.state.versions[id_]) for id_ in ids]

    def disk(self, version: int, *, cached: bool = True) -> NaiveDisk:
        if self._find(version).hidden:
            raise refuse("missing", f"version {version} was dropped")
        return NaiveDisk(self, version)

    def flush(self) -> None:
        self._alive()

    def diff(
        self, old: int | None, new: int, *, offset: int = 0, length: int | None = None, limit: int = 4096
    ) -> tuple[list[tuple[int, int, bool]], int | None]:
        with self._alive().lock:
            b = self._find(new)
            a = Version(0, False, 0) if old is None else self._find(old)
            end = max(a.size, b.size)
            if length is not None:
                end = min(end, offset + length)
            # Behind the end of the shorter disk its last block counts as zero, whatever lies there.
            shorter = min(a.size, b.size)
            split = old is not None and a.size != b.size and shorter % BLOCK_SIZE != 0
            changed = sorted(
                i
                for i in a.blocks.keys() | b.blocks.keys()
                if a.blocks.get(i, (0, b""))[0] != b.blocks.get(i, (0, b""))[0]
                or (split and i == shorter // BLOCK_SIZE)
            )
        found: list[tuple[int, int, bool]] = []
        for i in changed:
            start, stop = max(i * BLOCK_SIZE, offset), min((i + 1) * BLOCK_SIZE, end)
            if start >= stop:
                continue
            mapped = i in b.blocks
            if found and found[-1][0] + found[-1][1] == start and found[-1][2] == mapped:
                found[-1] = (found[-1][0], found[-1][1] + stop - start, mapped)
            elif len(found) == limit:
                return found, start
            else:
                found.append((start, stop - start, mapped))
        return found, None

    def _tokens(self, versions: list[Version]) -> set[int]:
        return {token for version in versions for token, _ in version.blocks.values()}

    def exclusive_blocks(self, version: int) -> int:
        with self._alive().lock:
            mine = self._find(version)
            others = [v for v in self.state.versions.values() if v is not mine and not v.hidden]
            return len(self._tokens([mine]) - self._tokens(others))

    def hidden_blocks(self) -> int:
        with self._alive().lock:
            versions = list(self.state.versions.values())
            hidden = self._tokens([v for v in versions if v.hidden])
            return len(hidden - self._tokens([v for v in versions if not v.hidden]))

    def reclaim(self, budget: int = 4096) -> int:
        with self._alive().lock:
            step = min(self.state.pending, budget)
            self.state.pending -= step
            shown = self._tokens([v for v in self.state.versions.values() if not v.hidden])
            for version in self.state.versions.values():
                if version.hidden:
                    version.blocks = {i: b for i, b in version.blocks.items() if b[0] in shown}
            return step

    def space(self) -> SpaceInfo:
        with self._alive().lock:
            versions = list(self.state.versions.values())
            used = len(self._tokens(versions))
            metadata = sum(len(k) + len(v) for k, v in self.state.keys.items())
            metadata += sum(64 + 8 * len(v.blocks) for v in versions)
            hidden = sum(v.hidden for v in versions)
            dying = int(self.state.pending > 0)
            return SpaceInfo(
                used_blocks=used,
                free_blocks=0,
                pending_blocks=0,
                unpunched_chunks=0,
                versions=len(versions) + dying,
                hidden_versions=hidden,
                dying_versions=dying,
                pages=0,
                keys=len(self.state.keys),
                metadata_bytes=metadata,
                catalog_bytes=metadata,
                blocks_file_bytes=used * BLOCK_SIZE,
                cache_bytes=0,
            )

    def check(self) -> list[str]:
        self._alive()
        return []


class NaiveTransaction:
    def __init__(self, kernel: NaiveKernel) -> None:
        self.kernel = kernel
        self.steps: list[tuple[Any, ...]] = []
        self.required: list[tuple[bytes, bytes | None]] = []
        self.puts: dict[bytes, bytes | None] = {}

    def _draw(self) -> int:
        return next(self.kernel.state.ids)

    def create(self, size: int) -> int:
        if not 0 <= size <= MAX_DISK_SIZE:
            raise refuse("invalid", f"a disk of {size} bytes is not possible")
        self.steps.append(("create", version := self._draw(), size))
        return version

    def freeze(self, head: int) -> int:
        self.steps.append(("freeze", head, version := self._draw()))
        return version

    def derive(self, frozen: int) -> int:
        self.steps.append(("derive", frozen, version := self._draw()))
        return version

    def drop(self, version: int) -> None:
        self.steps.append(("drop", version))

    def rollback(self, head: int, frozen: int) -> None:
        self.steps.append(("rollback", head, frozen))

    def resize(self, head: int, size: int) -> None:
        if not 0 <= size <= MAX_DISK_SIZE:
            raise refuse("invalid", f"a disk of {size} bytes is not possible")
        self.steps.append(("resize", head, size))

    def put(self, key: bytes, value: bytes) -> None:
        self.puts[key] = value

    def delete(self, key: bytes) -> None:
        self.puts[key] = None

    def require(self, key: bytes, value: bytes | None) -> None:
        self.required.append((key, value))

    def commit(self) -> None:
        state = self.kernel._alive()
        with state.lock:
            for key, value in self.required:
                if state.keys.get(key) != value:
                    raise refuse("conflict", f"{key!r} has changed")
            draft = _Draft(state)
            for step, *arguments in self.steps:
                getattr(draft, step)(*arguments)
            state.versions = draft.versions
            state.pending += draft.freed
            for key, put in self.puts.items():
                if put is None:
                    state.keys.pop(key, None)
                else:
                    state.keys[key] = put

    def __enter__(self) -> NaiveTransaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.commit()


class _Draft:
    """The versions as they will be; nothing of `state` is touched, so that a refusal leaves no trace."""

    def __init__(self, state: State) -> None:
        self.versions = dict(state.versions)
        self.tokens = state.tokens
        self.mine: set[int] = set()
        self.freed = 0

    def _find(self, version: int, head: bool | None = None) -> Version:
        found = self.versions.get(version)
        if found is None or found.hidden:
            raise refuse("missing", f"no version {version}")
        if head is not None and found.head != head:
            raise refuse("read-only" if head else "invalid", f"version {version} is not of that kind")
        if version not in self.mine:
            found = self.versions[version] = replace(found, blocks=dict(found.blocks))
            self.mine.add(version)
        return found

    def create(self, version: int, size: int) -> None:
        self.versions[version] = Version(version, True, size)

    def freeze(self, head: int, version: int) -> None:
        source = self._find(head, head=True)
        self.versions[version] = Version(
            version, False, source.size, source.parent, blocks=dict(source.blocks)
        )
        source.parent = version

    def derive(self, frozen: int, version: int) -> None:
        source = self._find(frozen, head=False)
        self.versions[version] = Version(version, True, source.size, frozen, blocks=dict(source.blocks))

    def drop(self, version: int) -> None:
        found = self._find(version)
        found.hidden = True
        self._prune(version)

    def rollback(self, head: int, frozen: int) -> None:
        target, source = self._find(head, head=True), self._find(frozen, head=False)
        before = target.parent
        target.parent, target.size, target.blocks = frozen, source.size, dict(source.blocks)
        if before is not None:
            self._prune(before)

    def resize(self, head: int, size: int) -> None:
        found = self._find(head, head=True)
        for block in [block for block in found.blocks if block * BLOCK_SIZE >= size]:
            del found.blocks[block]
        inside = found.size % BLOCK_SIZE
        if size > found.size and inside:
            # What lies behind the end within the last block is not defined until the disk grows over it.
            put(found, found.size // BLOCK_SIZE, inside, bytes(BLOCK_SIZE - inside), self.tokens)
        found.size = size

    def _prune(self, version: int) -> None:
        """Take out hidden versions with one child at most, up to the first that stays."""
        at: int | None = version
        while at is not None and self.versions[at].hidden:
            gone = self.versions[at]
            children = [v.id for v in self.versions.values() if v.parent == at]
            if len(children) > 1:
                return
            for child in children:
                self.versions[child] = replace(self.versions[child], parent=gone.parent)
            del self.versions[at]
            self.freed += len(gone.blocks) + 1
            at = gone.parent


def pieces(offset: int, length: int) -> list[tuple[int, int, int]]:
    """A range cut at block borders: (block, start within it, end within it)."""
    found = []
    end = offset + length
    while offset < end:
        block, start = divmod(offset, BLOCK_SIZE)
        stop = min(BLOCK_SIZE, start + end - offset)
        found.append((block, start, stop))
        offset += stop - start
    return found


def put(version: Version, block: int, start: int, piece: bytes, tokens: Iterator[int]) -> None:
    """Store a piece of a block. Zeros unmap a whole block, and do nothing to one that is not mapped."""
    if not any(piece) and (len(piece) == BLOCK_SIZE or block not in version.blocks):
        version.blocks.pop(block, None)
        return
    old = version.blocks.get(block, (0, ZEROS))[1]
    version.blocks[block] = (next(tokens), old[:start] + piece + old[start + len(piece) :])


def clear(version: Version, offset: int, length: int, tokens: Iterator[int]) -> None:
    """Make a range read as zeros. The last block counts as whole when the disk ends in it."""
    for block, start, stop in pieces(offset, length):
        if start == 0 and (stop == BLOCK_SIZE or block * BLOCK_SIZE + stop == version.size):
            version.blocks.pop(block, None)
        else:
            put(version, block, start, bytes(stop - start), tokens)


class NaiveDisk:
    def __init__(self, kernel: NaiveKernel, version: int) -> None:
        self.kernel = kernel
        self.version = version

    def _find(self) -> Version:
        found = self.kernel._alive().versions.get(self.version)
        if found is None or found.hidden:
            raise refuse("stale", f"version {self.version} was dropped")
        return found

    @property
    def size(self) -> int:
        return self._find().size

    @property
    def read_only(self) -> bool:
        return not self._find().head

    def _range(self, offset: int, length: int) -> Version:
        found = self._find()
        if offset < 0 or length < 0 or offset + length > found.size:
            raise refuse("invalid", f"{offset}+{length} is not within a disk of {found.size} bytes")
        return found

    def _writable(self, offset: int, length: int) -> Version:
        found = self._range(offset, length)
        if not found.head:
            raise refuse("read-only", f"version {self.version} is frozen")
        return found

    def read(self, offset: int, length: int) -> bytes:
        with self.kernel.state.lock:
            found = self._range(offset, length)
            return b"".join(
                found.blocks.get(block, (0, ZEROS))[1][start:stop]
                for block, start, stop in pieces(offset, length)
            )

    def read_into(self, offset: int, buffer: Any) -> None:
        view = memoryview(buffer).cast("B")
        view[:] = self.read(offset, len(view))

    def write(self, offset: int, data: Any) -> None:
        view = memoryview(data).cast("B")
        state = self.kernel.state
        with state.lock:
            found = self._writable(offset, len(view))
            at = 0
            for block, start, stop in pieces(offset, len(view)):
                put(found, block, start, bytes(view[at : at + stop - start]), state.tokens)
                at += stop - start

    def discard(self, offset: int, length: int) -> None:
        with self.kernel.state.lock:
            clear(self._writable(offset, length), offset, length, self.kernel.state.tokens)

    write_zeroes = discard

    def sparsify(self, offset: int, length: int) -> int:
        with self.kernel.state.lock:
            found = self._writable(offset, length)
            end = offset + length
            whole = [
                block
                for block, (_, data) in found.blocks.items()
                # What lies behind the end of the disk does not count.
                if not any(data[: found.size - block * BLOCK_SIZE])
                and offset <= block * BLOCK_SIZE
                and (end >= found.size or (block + 1) * BLOCK_SIZE <= end)
            ]
            for block in whole:
                del found.blocks[block]
            return len(whole) * BLOCK_SIZE

    def extents(self, offset: int, length: int, *, limit: int = 4096) -> list[tuple[int, int, bool]]:
        with self.kernel.state.lock:
            found = self._range(offset, length)
            result: list[tuple[int, int, bool]] = []
            for block, start, stop in pieces(offset, length):
                mapped = block in found.blocks
                if result and result[-1][2] == mapped:
                    result[-1] = (result[-1][0], result[-1][1] + stop - start, mapped)
                else:
                    result.append((block * BLOCK_SIZE + start, stop - start, mapped))
            return result[:limit]
