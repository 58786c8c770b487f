"""Compressed clusters: raw deflate or zstd, never trusted to end where they should."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from cowshed.errors import FormatError
from cowshed.formats.qcow2.header import Compression

Decompressor = Callable[[memoryview, int], tuple[bytes, int]]

_MAX_FRAMES = 64
"""Frames of zstd in one cluster. QEMU writes one; each costs a copy of what is behind it."""
_WINDOW_LOG = 24
"""The largest window that a frame of zstd may ask memory for: 16 MiB, eight times the largest cluster."""


def decompressor(kind: Compression, name: str) -> Decompressor:
    """What makes `size` bytes of the front of compressed data, and counts how much of that it took.

    It raises FormatError, in the name of the file, for data that is damaged or too short; it makes no byte
    more than it was asked for.
    """

    def inflate(data: memoryview, size: int) -> tuple[bytes, int]:
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            made = engine.decompress(data, size)
        except zlib.error as error:
            raise _damaged(name, str(error)) from None
        if len(made) < size:
            raise _damaged(name, "it is too short")
        return made, len(data) - len(engine.unused_data) - len(engine.unconsumed_tail)

    def unpack(data: memoryview, size: int) -> tuple[bytes, int]:
        zstd = _zstd()
        options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
        parts: list[bytes] = []
        rest: memoryview | bytes = data
        missing = size
        try:
            for _ in range(_MAX_FRAMES):
                engine = zstd.ZstdDecompressor(options=options)
                # One byte more than fits: so a frame that just fits comes to its end and tells where that is.
                made: bytes = engine.decompress(rest, missing + 1)
                if len(made) > missing:
                    raise _damaged(name, "it is too long")
                if not engine.eof:
                    break
                parts.append(made)
                missing -= len(made)
                rest = engine.unused_data
                if not missing:
                    return (made if len(parts) == 1 else b"".join(parts)), len(data) - len(rest)
        except zstd.ZstdError as error:
            raise _damaged(name, str(error)) from None
        raise _damaged(name, "it is too short")

    return inflate if kind is Compression.ZLIB else unpack


def _damaged(name: str, how: str) -> FormatError:
    return FormatError(f"{name} has a compressed cluster that is damaged: {how}")


def _zstd() -> ModuleType:
    """The standard library's module, or what brings it to a Python that has none."""
    return import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
