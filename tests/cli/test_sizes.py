"""Sizes as rbd reads and prints them."""

from __future__ import annotations

import pytest

from cowshed.cli.sizes import format_size, parse_size, size_in_mib
from cowshed.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("4096B", 4096),
        ("4K", 4096),
        ("4k", 4096),
        ("4Ki", 4096),
        ("4KiB", 4096),
        (" 1M ", 1 << 20),
        ("10G", 10 << 30),
        ("2T", 2 << 40),
        ("1P", 1 << 50),
        ("1E", 1 << 60),
    ],
)
def test_parse(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_bare_number_counts_in_the_default_unit() -> None:
    assert size_in_mib("512") == 512 << 20
    assert size_in_mib("512B") == 512


@pytest.mark.parametrize(
    "text",
    [
        "",
        "K",
        "-1",
        "+1",
        "1.5G",
        "1KB",
        "1Q",
        "0x10",
        "1 G",
        "1GG",
        "1KiBi",
        "²",
        "१",
        "8E",
        "9" * 5000,
        "B1",
        "1e3",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (3000000, "2.9 MiB"),
        (10 << 30, "10 GiB"),
        ((10 << 30) + 1, "10 GiB"),
        (1 << 50, "1 PiB"),
        (1000 << 20, "1000 MiB"),
    ],
)
def test_format(size: int, text: str) -> None:
    assert format_size(size) == text
