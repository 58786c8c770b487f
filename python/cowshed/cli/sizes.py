"""Sizes as rbd reads and prints them: powers of 1024 everywhere."""

from __future__ import annotations

from cowshed.errors import InvalidArgument

_LETTERS = "KMGTPE"


def parse_size(text: str, *, default_unit: str = "B") -> int:
    """Bytes that `text` means: a whole number and B, K, M, G, T, P or E (also Ki, KiB …).

    A bare number counts in `default_unit`. Raises InvalidArgument.
    """
    cleaned = text.strip()
    digits = cleaned.rstrip("BbIiKkMmGgTtPpEe")
    unit = (cleaned[len(digits) :] or default_unit).upper()
    shift = _shift(unit)
    # isdecimal() also takes other scripts' digits, which int() would read: only ASCII is meant.
    if not (digits.isascii() and digits.isdecimal()) or shift is None:
        raise InvalidArgument(
            f"{text!r} is not a size", hint="write a whole number and a unit: 512K, 64M, 10G, 1T"
        )
    # Longer numbers are beyond any disk, and int() refuses thousands of digits with an error of its own.
    value = int(digits[:40]) << shift
    if value >= 1 << 63 or len(digits) > 40:
        raise InvalidArgument(f"{text!r} is larger than any disk can be")
    return value


def _shift(unit: str) -> int | None:
    if unit == "B":
        return 0
    letter, rest = unit[:1], unit[1:]
    if letter in _LETTERS and rest in ("", "I", "IB"):
        return 10 * (_LETTERS.index(letter) + 1)
    return None


def format_size(size: int) -> str:
    """`size` as rbd prints it: `10 GiB`, `1.5 KiB`, `0 B`."""
    index = 0
    whole = size
    while whole >= 1024 and index < len(_LETTERS):
        whole >>= 10
        index += 1
    if index == 0:
        return f"{size} B"
    unit = 1 << (10 * index)
    suffix = f"{_LETTERS[index - 1]}iB"
    if size % unit == 0:
        return f"{whole} {suffix}"
    for digits in (1, 0):
        text = f"{size / unit:.{digits}f}"
        if len(text) <= 3:
            break
    return f"{text} {suffix}"


def size_in_bytes(text: str) -> int:
    """The type of an option whose bare number counts in bytes."""
    return parse_size(text)


def size_in_mib(text: str) -> int:
    """The type of an option whose bare number counts in MiB, as rbd's `--size`."""
    return parse_size(text, default_unit="M")
