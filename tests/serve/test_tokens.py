"""Tokens: what is kept, who is let in, and many who change them at once."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cowshed.errors import AlreadyExists, InvalidArgument, NotFound, StoreDamaged
from cowshed.serve.tokens import FILE, PREFIX, Tokens, bearer, parse_duration


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


def test_a_token_is_known_by_its_text_alone(tokens: Tokens) -> None:
    text = tokens.create("nova", "operate", pools=["vms", "images", "vms"])
    other = tokens.create("ops", "admin")
    assert text != other
    assert text.startswith(PREFIX)
    found = tokens.find(text)
    assert found is not None
    assert (found.name, found.role, found.pools, found.expires) == (
        "nova",
        "operate",
        ("vms", "images"),
        None,
    )
    admin = tokens.find(other)
    assert admin is not None
    assert (admin.role, admin.pools) == ("admin", None)
    for wrong in ("", PREFIX, text[:-1], text + "A", text.swapcase(), found.sha256, "x" * 10_000, "\udcff"):
        assert tokens.find(wrong) is None


def test_only_the_hash_is_kept_and_for_the_owner_alone(tokens: Tokens, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        text = tokens.create("a", "read")
    finally:
        os.umask(old)
    path = tmp_path / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert text.removeprefix(PREFIX) not in path.read_text()
    (kept,) = json.loads(path.read_text())["tokens"]
    assert kept["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert [each.name for each in tmp_path.iterdir()] == [FILE]
    # 256 bits: 43 characters of 6 bits each.
    assert len(text) == len(PREFIX) + 43


def test_others_see_changes_at_once(tokens: Tokens, tmp_path: Path) -> None:
    other = Tokens(tmp_path)
    assert other.entries() == []
    text = tokens.create("a", "read")
    assert other.find(text) is not None
    tokens.remove("a")
    assert other.find(text) is None
    again = tokens.create("a", "read")
    assert other.find(text) is None
    assert other.find(again) is not None
    (tmp_path / FILE).unlink()
    assert other.find(again) is None


def test_an_expired_token_is_none(tokens: Tokens) -> None:
    text = tokens.create("a", "read", expires=time.time() + 60)
    assert tokens.find(text) is not None
    assert tokens.find(text, now=time.time() + 59) is not None
    assert tokens.find(text, now=time.time() + 61) is None


def test_names(tokens: Tokens) -> None:
    tokens.create("a", "read")
    with pytest.raises(AlreadyExists):
        tokens.create("a", "admin")
    for name in ("", "a b", "-a", "a/b", "a\n", "ä", "x" * 65):
        with pytest.raises(InvalidArgument, match="name"):
            tokens.create(name, "read")
    with pytest.raises(NotFound):
        tokens.remove("b")
    assert [token.name for token in tokens.entries()] == ["a"]
    with pytest.raises(InvalidArgument, match="role"):
        tokens.create("c", "root")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.update(version=2),
        lambda kept: kept.update(tokens=None),
        lambda kept: kept["tokens"][0].update(role="root"),
        lambda kept: kept["tokens"][0].update(sha256="00"),
        lambda kept: kept["tokens"][0].update(pools="vms"),
        lambda kept: kept["tokens"][0].pop("pools"),
        lambda kept: kept["tokens"][0].pop("expires"),
        lambda kept: kept["tokens"][0].update(expires="never"),
    ],
)
def test_a_damaged_file_lets_no_one_in(tokens: Tokens, tmp_path: Path, change: object) -> None:
    text = tokens.create("a", "read", pools=["vms"], expires=time.time() + 60)
    path = tmp_path / FILE
    kept = json.loads(path.read_text())
    assert callable(change)
    change(kept)
    path.write_text(json.dumps(kept))
    with pytest.raises(StoreDamaged, match="tokens"):
        tokens.find(text)
    path.write_text("{")
    with pytest.raises(StoreDamaged):
        tokens.create("b", "read")
    assert path.read_text() == "{"


def test_many_change_at_once(tokens: Tokens, tmp_path: Path) -> None:
    # Threads of this process, and other processes: none of the changes is lost.
    code = (
        "import sys; from cowshed.serve.tokens import Tokens; t = Tokens(sys.argv[1])\n"
        "for i in range(10): t.create(f'p{sys.argv[2]}-{i}', 'read')"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)]) for n in range(2)]
    threads = [
        threading.Thread(target=lambda n=n: [tokens.create(f"t{n}-{i}", "read") for i in range(10)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [child.wait(60) for child in children] == [0, 0]
    wanted = {f"t{n}-{i}" for n in range(4) for i in range(10)}
    wanted |= {f"p{n}-{i}" for n in range(2) for i in range(10)}
    assert {token.name for token in tokens.entries()} == wanted


def test_the_store_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Tokens(tmp_path / "missing").create("a", "read")
    with pytest.raises(NotFound, match="no store"):
        Tokens(tmp_path).need_store()


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Basic abc", None),
        ("abc", None),
    ],
)
def test_the_header(header: str | None, token: str | None) -> None:
    assert bearer(header) == token


def test_durations() -> None:
    assert [parse_duration(text) for text in ("45s", "90m", "12h", "30d", " 2w ")] == [
        45,
        5400,
        43200,
        30 * 86400,
        14 * 86400,
    ]
    for text in ("", "30", "0d", "-1d", "1.5h", "1y", "d", "٣d", "9999999999d"):
        with pytest.raises(InvalidArgument):
            parse_duration(text)
