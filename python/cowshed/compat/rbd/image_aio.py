"""Reads and writes that go on by themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable

from cowshed.compat.rbd.arguments import unsigned
from cowshed.compat.rbd.completion import Completion
from cowshed.compat.rbd.image_io import InputOutput
from cowshed.compat.rbd.opened import answered

Told = Callable[[Completion], object] | None


class Asynchronous(InputOutput):
    """Wrong arguments are told at once, all else by the completion."""

    @answered("error reading from")
    def aio_read(
        self,
        offset: int,
        length: int,
        oncomplete: Callable[[Completion, bytes | None], object],
        fadvise_flags: int = 0,
    ) -> Completion:
        """Calls `oncomplete(completion, data)`; data is None for a read that failed."""
        work = functools.partial(self.read, unsigned(offset), unsigned(length))
        return Completion.begun(work, oncomplete, with_result=True)

    @answered("error writing to")
    def aio_write(self, data: bytes, offset: int, oncomplete: Told, fadvise_flags: int = 0) -> Completion:
        """Calls `oncomplete(completion)`, as the others below."""
        if not isinstance(data, bytes):
            raise TypeError("data must be a byte string")
        return Completion.begun(functools.partial(self._write_all, data, unsigned(offset)), oncomplete)

    def _write_all(self, data: bytes, offset: int) -> None:
        self.write(data, offset)

    @answered("error discarding region of")
    def aio_discard(self, offset: int, length: int, oncomplete: Told) -> Completion:
        return Completion.begun(
            functools.partial(self.discard, unsigned(offset), unsigned(length)), oncomplete
        )

    @answered("error zeroing region of")
    def aio_write_zeroes(self, offset: int, length: int, oncomplete: Told, zero_flags: int = 0) -> Completion:
        work = functools.partial(self.write_zeroes, unsigned(offset), unsigned(length), zero_flags)
        return Completion.begun(work, oncomplete)

    @answered("error flushing")
    def aio_flush(self, oncomplete: Told) -> Completion:
        return Completion.begun(self.flush, oncomplete)

    @answered("error closing")
    def aio_close(self, oncomplete: Told) -> Completion:
        return Completion.begun(self.close, oncomplete)

    def close(self) -> None:
        """Flush what was written, and let go."""
        raise NotImplementedError
