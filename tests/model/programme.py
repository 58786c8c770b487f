"""Random programmes of kernel operations, run on two kernels side by side and compared after every few.

The kernels may number versions as they like; a `Pair` is one version in both. Whatever can be observed is
compared: content, extents, sizes, differences (exact to the block), what is mapped and what is held
alone, and after everything is reclaimed the family tree and the space in use.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.kernel_module import BLOCK_SIZE, KernelError
from model.naive_kernel import NaiveKernel

Open = Callable[[Path], Any]
SMALL = 40 * BLOCK_SIZE
HUGE = 1 << 50


@dataclass
class Pair:
    """One version, by its id in the kernel under test and in the naive one."""

    real: int
    naive: int
    head: bool


class Programme:
    def __init__(self, seed: int, room: Path, create: Open, open_: Open) -> None:
        self.rng = random.Random(seed)
        self.path = room / "store"
        self.open = open_
        create(self.path)
        self.real = open_(self.path)
        self.naive_path = str(room / "naive")
        NaiveKernel.create(self.naive_path)
        self.naive = NaiveKernel.open(self.naive_path)
        self.pairs: list[Pair] = []
        self.log: list[str] = []
        self.disks: dict[int, tuple[Any, Any]] = {}

    def run(self, steps: int, compare_every: int = 12) -> None:
        """Go on for `steps` operations; what fails tells the operations that led there."""
        try:
            for step in range(steps):
                self._step()
                if step % compare_every == 0:
                    self.compare_some()
            self.compare_all()
            self.settle()
        except Exception:
            print("\n".join(self.log))
            raise

    def close(self) -> None:
        self.real.close()
        self.naive.close()

    # --- operations

    def _step(self) -> None:
        steps: list[tuple[int, Callable[[], None]]] = [
            (40, self._write),
            (10, self._zeros),
            (10, self._discard),
            (3, self._sparsify),
            (3, self._create),
            (12, self._freeze),
            (8, self._derive),
            (12, self._drop),
            (6, self._rollback),
            (6, self._resize),
            (3, self._several),
            (3, self._keys),
            (3, self._refused),
            (3, self._flush),
            (4, self._reclaim),
            (2, self._reopen),
        ]
        weights, calls = zip(*steps, strict=True)
        self.rng.choices(calls, weights)[0]()

    def _pick(self, head: bool | None = None) -> Pair | None:
        some = [pair for pair in self.pairs if head is None or pair.head == head]
        return self.rng.choice(some) if some else None

    def _disks(self, pair: Pair) -> tuple[Any, Any]:
        """Handles are kept open over whatever happens to the version."""
        if pair.real not in self.disks:
            self.disks[pair.real] = self.real.disk(pair.real), self.naive.disk(pair.naive)
        return self.disks[pair.real]

    def _range(self, size: int) -> tuple[int, int]:
        """Small or large, aligned or not, often where others are too."""
        rng = self.rng
        near = rng.choice([0, 0, 0, size // 2, max(0, size - SMALL)])
        offset = min(size, near + rng.randrange(SMALL))
        if rng.random() < 0.4:
            offset -= offset % BLOCK_SIZE
        length = rng.choice([1, 100, BLOCK_SIZE, 2 * BLOCK_SIZE, rng.randrange(1, SMALL)])
        if rng.random() < 0.1:
            length = size
        length = min(length, size - offset, 64 * BLOCK_SIZE if size > HUGE // 2 else size)
        return offset, length

    def _write(self) -> None:
        pair = self._pick(head=True)
        if pair is None:
            self._create()
            return
        real, naive = self._disks(pair)
        offset, length = self._range(naive.size)
        self.log.append(f"write {pair.real} {offset}+{length}")
        data = bytearray(self.rng.randbytes(length))
        if length > BLOCK_SIZE and self.rng.random() < 0.3:
            start = self.rng.randrange(length)
            stop = min(length, start + 3 * BLOCK_SIZE)
            data[start:stop] = bytes(stop - start)
        real.write(offset, data)
        naive.write(offset, data)

    def _clear(self, call: str) -> None:
        pair = self._pick(head=True)
        if pair is None:
            return
        real, naive = self._disks(pair)
        offset, length = self._range(naive.size)
        self.log.append(f"{call} {pair.real} {offset}+{length}")
        if call == "write zeros":
            real.write(offset, bytes(length))
            naive.write(offset, bytes(length))
        else:
            getattr(real, call)(offset, length)
            getattr(naive, call)(offset, length)

    def _zeros(self) -> None:
        self._clear(self.rng.choice(["write zeros", "write_zeroes"]))

    def _discard(self) -> None:
        self._clear("discard")

    def _sparsify(self) -> None:
        pair = self._pick(head=True)
        if pair is None:
            return
        real, naive = self._disks(pair)
        offset, length = self._range(naive.size)
        for disk in (real, naive):
            # In two pieces, so that a block of zeros is mapped still.
            disk.write_zeroes(offset, length // 2)
            disk.write(offset + length // 2, bytes(min(length - length // 2, 3 * BLOCK_SIZE)))
        self.log.append(f"sparsify {pair.real} {offset}+{length}")
        assert real.sparsify(offset, length) == naive.sparsify(offset, length)

    def _size(self) -> int:
        rng = self.rng
        return rng.choice([0, 1, BLOCK_SIZE, SMALL, SMALL, rng.randrange(2 * SMALL), 1200 * BLOCK_SIZE, HUGE])

    def _create(self) -> None:
        size = self._size()
        if len(self.pairs) < 40:
            self._change("create", lambda t, _: t.create(size), [], self.pairs.append, True)

    def _freeze(self) -> None:
        pair = self._pick(head=True)
        if pair and len(self.pairs) < 40:
            self._change("freeze", lambda t, ids: t.freeze(*ids), [pair], self.pairs.append, False)

    def _derive(self) -> None:
        pair = self._pick(head=False)
        if pair and len(self.pairs) < 40:
            self._change("derive", lambda t, ids: t.derive(*ids), [pair], self.pairs.append, True)

    def _drop(self) -> None:
        pair = self._pick()
        if pair:
            self._change("drop", lambda t, ids: t.drop(*ids), [pair])
            self.pairs.remove(pair)

    def _rollback(self) -> None:
        head, frozen = self._pick(head=True), self._pick(head=False)
        if head and frozen:
            self._change("rollback", lambda t, ids: t.rollback(*ids), [head, frozen])

    def _resize(self) -> None:
        pair, size = self._pick(head=True), self._size()
        if pair:
            self._change(f"resize to {size}", lambda t, ids: t.resize(*ids, size), [pair])

    def _several(self) -> None:
        """A head frozen, a clone made of that, and the head dropped: in one transaction."""
        pair = self._pick(head=True)
        if pair is None:
            return
        self.log.append(f"freeze, derive and drop {pair.real}")
        made = []
        for kernel, id_ in ((self.real, pair.real), (self.naive, pair.naive)):
            with kernel.transaction() as transaction:
                frozen = transaction.freeze(id_)
                made.append((frozen, transaction.derive(frozen)))
                transaction.drop(id_)
        (real_frozen, real_head), (naive_frozen, naive_head) = made
        self.pairs.remove(pair)
        self.pairs += [Pair(real_frozen, naive_frozen, False), Pair(real_head, naive_head, True)]

    def _change(
        self,
        what: str,
        call: Callable[[Any, list[int]], Any],
        on: list[Pair],
        add: Callable[[Pair], None] | None = None,
        head: bool = False,
    ) -> None:
        """One operation as a transaction of its own, in both."""
        with self.real.transaction() as transaction:
            real = call(transaction, [pair.real for pair in on])
        with self.naive.transaction() as transaction:
            naive = call(transaction, [pair.naive for pair in on])
        self.log.append(f"{what} {[pair.real for pair in on]} -> {real}")
        if add:
            add(Pair(real, naive, head))

    def _keys(self) -> None:
        keys = [b"k%d" % self.rng.randrange(8) for _ in range(3)]
        value = self.rng.randbytes(self.rng.randrange(50))
        self.log.append(f"keys {keys}")
        for kernel in (self.real, self.naive):
            with kernel.transaction() as transaction:
                transaction.require(keys[0], kernel.get(keys[0]))
                transaction.put(keys[0], value)
                transaction.delete(keys[1])
                transaction.put(keys[2], b"")

    def _refused(self) -> None:
        """A transaction that cannot be applied leaves no trace, and both say why in the same way."""
        pair = self._pick()
        if pair is None:
            return
        kinds = []
        choice = self.rng.randrange(3)
        for kernel, id_ in ((self.real, pair.real), (self.naive, pair.naive)):
            transaction = kernel.transaction()
            transaction.put(b"never", b"")
            try:
                transaction.drop(id_)
                if choice == 0:
                    transaction.require(b"never", b"other")
                elif choice == 1:
                    transaction.drop(id_)
                elif pair.head:
                    transaction.derive(id_)
                else:
                    transaction.freeze(id_)
                transaction.commit()
            except KernelError as error:
                kinds.append(error.kind)
            assert kernel.get(b"never") is None
        self.log.append(f"refused {pair.real}: {kinds}")
        assert len(kinds) == 2
        assert kinds[0] == kinds[1]

    def _flush(self) -> None:
        self.real.flush()

    def _reclaim(self) -> None:
        self.real.reclaim(self.rng.choice([1, 10, 4096]))

    def _reopen(self) -> None:
        self.log.append("reopen")
        self.disks.clear()
        self.close()
        self.real = self.open(self.path)
        self.naive = NaiveKernel.open(self.naive_path)

    # --- comparisons

    def compare_some(self) -> None:
        for pair in self.rng.sample(self.pairs, min(4, len(self.pairs))):
            self._compare_version(pair)
        if len(self.pairs) > 1:
            self._compare_diff(*self.rng.sample(self.pairs, 2))
        self._compare_keys()

    def compare_all(self) -> None:
        for pair in self.pairs:
            self._compare_version(pair)
            self._compare_diff(None, pair)
            for other in self.rng.sample(self.pairs, min(6, len(self.pairs))):
                self._compare_diff(other, pair)
        self._compare_keys()

    def _compare_version(self, pair: Pair) -> None:
        real, naive = self._disks(pair)
        size = naive.size
        assert (real.version, real.size, real.read_only) == (pair.real, size, not pair.head)
        info, expected = self.real.version(pair.real), self.naive.version(pair.naive)
        assert (info.head, info.hidden, info.size) == (pair.head, False, size)
        assert info.mapped_blocks == expected.mapped_blocks, pair
        exclusive = self.real.exclusive_blocks(pair.real)
        assert exclusive == self.naive.exclusive_blocks(pair.naive), pair
        windows = [(0, size)] if size <= 2000 * BLOCK_SIZE else []
        windows += [self._range(size) for _ in range(3)]
        for offset, length in windows:
            expected_data = naive.read(offset, length)
            assert real.read(offset, length) == expected_data, (pair, offset, length)
            buffer = bytearray(b"\xaa" * length)
            real.read_into(offset, buffer)
            assert buffer == expected_data
            self._compare_extents(real, naive, offset, length)

    def _compare_extents(self, real: Any, naive: Any, offset: int, length: int) -> None:
        limit = self.rng.choice([1, 3, 4096])
        at, found = offset, []
        while at < offset + length:
            some = real.extents(at, offset + length - at, limit=limit)
            assert some
            assert some[0][0] == at
            for start, count, _ in some:
                assert start == at
                assert count > 0
                at += count
            found += some
        assert at == offset + length
        assert merged(found) == naive.extents(offset, length)

    def _compare_diff(self, old: Pair | None, new: Pair) -> None:
        size = max(self.naive.version(pair.naive).size for pair in (old, new) if pair)
        offset, length = self.rng.choice([(0, None), self._range(size)])
        limit = self.rng.choice([1, 4096])
        found: list[tuple[int, int, bool]] = []
        at: int | None = offset
        while at is not None:
            left = None if length is None else offset + length - at
            some, after = self.real.diff(
                old.real if old else None, new.real, offset=at, length=left, limit=limit
            )
            assert after is None or after > at
            found, at = found + some, after
        expected, rest = self.naive.diff(
            old.naive if old else None, new.naive, offset=offset, length=length, limit=1 << 30
        )
        assert rest is None
        assert merged(found) == expected, (old, new, offset, length)

    def _compare_keys(self) -> None:
        assert self.real.scan(b"") == self.naive.scan(b"")
        assert self.real.scan(b"k", after=b"k2", limit=2) == self.naive.scan(b"k", after=b"k2", limit=2)
        assert self.real.get(b"k3") == self.naive.get(b"k3")

    def settle(self) -> None:
        """Reclaim everything: then nothing that was dropped may be left, and nothing else may be missing."""
        for kernel in (self.real, self.naive):
            while kernel.reclaim():
                pass
        assert self.real.check() == []
        space = self.real.space()
        assert self.real.hidden_blocks() == 0
        assert (space.used_blocks, space.dying_versions, space.pending_blocks) == (
            self.naive.space().used_blocks,
            0,
            0,
        )
        assert space.unpunched_chunks == 0
        self._compare_families()
        self.compare_all()

    def _compare_families(self) -> None:
        """The same tree, but for the numbers of hidden versions."""
        assert self._families(self.real, lambda pair: pair.real) == self._families(
            self.naive, lambda pair: pair.naive
        )

    def _families(self, kernel: Any, id_of: Callable[[Pair], int]) -> list[Any]:
        infos = {info.id: info for info in kernel.versions()}
        index = {id_of(pair): i for i, pair in enumerate(self.pairs)}
        assert {id_ for id_, info in infos.items() if not info.hidden} == set(index)

        def tree(id_: int) -> list[Any]:
            children = kernel.children(id_)
            assert infos[id_].children == len(children)
            assert all(infos[child].parent == id_ for child in children)
            assert not infos[id_].hidden or len(children) > 1
            return [index.get(id_, -1), sorted((tree(child) for child in children), key=repr)]

        return sorted((tree(id_) for id_, info in infos.items() if info.parent is None), key=repr)


def merged(extents: list[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
    result: list[tuple[int, int, bool]] = []
    for offset, length, mapped in extents:
        if result and result[-1][0] + result[-1][1] == offset and result[-1][2] == mapped:
            result[-1] = (result[-1][0], result[-1][1] + length, mapped)
        else:
            result.append((offset, length, mapped))
    return result
