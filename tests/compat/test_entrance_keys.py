"""Keys, keyrings, the addresses of monitors: texts that go through other programs' hands."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cowshed.compat.addresses import MonAddress, parse_mon_host, reachable
from cowshed.compat.conf import Conf
from cowshed.compat.keyring import Key, find_key, parse_keyring, write_keyring
from cowshed.errors import InvalidArgument, NotFound

TOKENS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200)


@given(TOKENS, st.none() | st.binary(min_size=32, max_size=32))
def test_a_key_comes_back(token: str, fingerprint: bytes | None) -> None:
    key = Key(token, fingerprint)
    text = str(key)  # once: it holds the time of its making
    assert Key.parse(text) == key
    assert parse_keyring(write_keyring({"client.a": text})) == {"client.a": text}


@given(st.binary(max_size=120))
def test_whatever_a_key_holds_is_a_key_or_refused(secret: bytes) -> None:
    for whole in (secret, b"\1\0" + bytes(8) + len(secret).to_bytes(2, "little") + secret):
        with pytest.raises(InvalidArgument):
            Key.parse(base64.b64encode(whole).decode())


def test_a_key_looks_like_one_of_ceph() -> None:
    text = str(Key("cowshed_x", bytes(32)))
    assert text.startswith("AQ")
    whole = base64.b64decode(text, validate=True)
    assert whole[:2] == b"\1\0"
    assert int.from_bytes(whole[10:12], "little") == len(whole) - 12


def test_a_key_is_not_told() -> None:
    assert "secret" not in repr(Key("secret", None))


@pytest.mark.parametrize("at", range(0, 40, 3))
def test_a_damaged_key_is_refused_and_not_shown(at: int) -> None:
    text = str(Key("cowshed_0123456789", bytes(range(32))))
    for damaged in (text[:at], text[:at] + "*" + text[at:], text[at + 4 :]):
        with pytest.raises(InvalidArgument) as caught:
            Key.parse(damaged)
        assert damaged[:20] not in str(caught.value) or not damaged


def test_the_key_of_a_real_cluster_is_told_apart() -> None:
    # As `ceph-authtool --gen-print-key` makes them: kind 1, a time, 16 bytes.
    real = base64.b64encode(b"\1\0" + bytes(8) + b"\x10\0" + bytes(range(16))).decode()
    with pytest.raises(InvalidArgument, match="real cluster"):
        Key.parse(real)


def test_where_the_key_is_looked_for(tmp_path: Path) -> None:
    one, two = str(Key("one", None)), str(Key("two", bytes(32)))
    conf = Conf(id="cinder")
    conf.read_text(f"[client.cinder]\nkeyring = {tmp_path}/gone, {tmp_path}/$cluster.$name.keyring\n")
    with pytest.raises(NotFound, match=r"no keyring for client\.cinder"):
        find_key(conf)
    ring = tmp_path / "ceph.client.cinder.keyring"
    ring.write_text(write_keyring({"client.glance": one}))
    with pytest.raises(NotFound, match=r"holds no key for client\.cinder"):
        find_key(conf)
    ring.write_text(f'[client.cinder]\n key = {two}\n caps mon = "allow r"\n')
    assert find_key(conf) == Key("two", bytes(32))
    (tmp_path / "file").write_text(one + "\n")
    conf.set("keyfile", str(tmp_path / "file"))
    assert find_key(conf) == Key("one", None)
    conf.set("key", two)
    assert find_key(conf) == Key("two", bytes(32))


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("10.0.0.1", ["10.0.0.1:6789"]),
        ("10.0.0.1:7180/0", ["10.0.0.1:7180"]),
        ("10.0.0.1:1, 10.0.0.2:2;10.0.0.3:3 10.0.0.4:4", [f"10.0.0.{n}:{n}" for n in (1, 2, 3, 4)]),
        ("[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]", ["10.0.0.1:3300", "10.0.0.1:6789"]),
        ("[v2:10.0.0.1:3300,v1:10.0.0.1:6789],[v2:10.0.0.2:3300]", [
            "10.0.0.1:3300", "10.0.0.1:6789", "10.0.0.2:3300",
        ]),
        ("v1:10.0.0.1:6789/0,v1:10.0.0.1:6789/0", ["10.0.0.1:6789"]),
        ("[::1]:6789/0", ["[::1]:6789"]),
        ("[v2:[::1]:3300/0,v1:[::1]:6789/0]", ["[::1]:3300", "[::1]:6789"]),
        ("[v2:[::1]:3300]", ["[::1]:3300"]),
        ("store-1.example.org:7180", ["store-1.example.org:7180"]),
    ],
)  # fmt: skip
def test_mon_host(text: str, addresses: list[str]) -> None:
    assert [str(each) for each in parse_mon_host(text)] == addresses
    assert parse_mon_host(",".join(addresses)) == parse_mon_host(text)


@pytest.mark.parametrize(
    "text", ["", " , ", "10.0.0.1:x", "10.0.0.1:0", "10.0.0.1:99999", "::1", "a b:", "http://x"]
)
def test_what_is_no_mon_host(text: str) -> None:
    with pytest.raises(InvalidArgument, match="mon_host"):
        parse_mon_host(text)


def test_where_a_daemon_is_found() -> None:
    assert reachable(["tcp:10.0.0.1:7180", "tcp:[::1]:1"]) == [
        MonAddress("10.0.0.1", 7180),
        MonAddress("::1", 1),
    ]
    (found,) = reachable(["tcp:0.0.0.0:7180"])
    assert found.port == 7180
    assert found.host not in ("0.0.0.0", "")
    assert [str(found)] == [str(each) for each in parse_mon_host(str(found))]
